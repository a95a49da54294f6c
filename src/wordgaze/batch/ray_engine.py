"""Captions partitions by Ray Data: tasks read and decode images, and a pool of actors captions them.

This process collects the outcomes and writes the files of a partition when it has all of them, so that workers need no
folder that they share. Ray repeats the tasks of a worker that is lost.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wordgaze.batch.images import read_ahead
from wordgaze.batch.run import BatchRun, ImageOutcome
from wordgaze.batch.worker import WorkerSettings, captioner_files, engine_error, limit_threads, worker_captioner
from wordgaze.core.errors import DataError, DistributedError
from wordgaze.core.parallel import available_cpus
from wordgaze.core.printable import reason_of

if TYPE_CHECKING:
    from wordgaze.vision.encoders import EncoderSpec

CPU_ACTOR_BATCH, GPU_ACTOR_BATCH = 32, 128
"""Images that an actor captions at once, without and with a GPU."""

_DECODING = 0.25  # of a CPU for a task that decodes; an actor has the rest of the CPU
_BLOCK = 16 * 2**20  # bytes of decoded images that a task hands on at once
_WAVE = 1000  # partitions whose addresses are in Ray's memory at once
LOCAL = "local"
"""The address of a cluster of this machine's CPUs, which Ray starts."""

_START_SECONDS = "240"  # for Ray to start on this machine; its own 30 are too few for a busy one

_Columns = dict[str, npt.NDArray[Any]]


def caption_by_ray(
    folder: Path,
    partitions: Sequence[int],
    settings: WorkerSettings,
    cluster: str | None,
    on_partition: Callable[[int], None],
) -> None:
    """Captions partitions of a run with the captioner in ``folder``, and calls ``on_partition`` after each.

    ``cluster`` is the address of a Ray cluster; by default RAY_ADDRESS, or a cluster of this machine's CPUs that ends
    with the call. There is one actor for each GPU, or for each CPU where there is no GPU. An actor without a GPU
    computes with one thread.

    Raises the error of wordgaze that ended a worker, or DistributedError if Ray cannot go on for another reason.
    """
    from wordgaze.inference.captioner_folder import read_card

    address = cluster or os.environ.get("RAY_ADDRESS") or LOCAL
    _configure(address)
    import ray
    from ray.exceptions import RayError

    try:
        with _connected(address):
            files, spec = ray.put(captioner_files(folder)), read_card(folder).encoder
            for start in range(0, len(partitions), _WAVE):
                wave = partitions[start : start + _WAVE]
                _caption_wave(BatchRun(settings.output), wave, spec, (files, settings), on_partition)
    except RayError as error:
        raise engine_error(error, "Ray") from error


def _caption_wave(
    run: BatchRun,
    partitions: Sequence[int],
    spec: "EncoderSpec",
    actor: tuple[Any, WorkerSettings],
    on_partition: Callable[[int], None],
) -> None:
    """Captions some partitions, which are written in the order in which they are complete."""
    outcomes: dict[int, list[ImageOutcome | None]] = {}
    tables, lacking = [], {}
    for number in partitions:
        addresses = run.addresses(number)
        outcomes[number], lacking[number] = [None] * len(addresses), len(addresses)
        tables.append(_table(number, addresses))
    for number, index, outcome in _outcomes(tables, spec, actor):
        images = outcomes.get(number)
        if images is None or images[index] is not None:  # a repeated task gives what is there already
            continue
        images[index] = outcome
        lacking[number] -= 1
        if not lacking[number]:
            run.write(number, [image for image in images if image is not None])
            del outcomes[number]
            on_partition(number)


def _outcomes(
    tables: Sequence[Any], spec: "EncoderSpec", actor: tuple[Any, WorkerSettings]
) -> Iterator[tuple[int, int, ImageOutcome]]:
    """The outcome of each image with its partition and its place there, in any order."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = DataContext.get_current()
    context.target_max_block_size, context.enable_progress_bars = _BLOCK, False
    gpus, cpus = (int(ray.cluster_resources().get(name, 0)) for name in ("GPU", "CPU"))
    place = {"num_gpus": 1} if gpus else {"num_cpus": 1 - _DECODING}
    captioned = (
        from_arrow(list(tables))
        .map_batches(_Decoder(spec), batch_size=CPU_ACTOR_BATCH, num_cpus=1 if gpus else _DECODING)
        .map_batches(
            _CaptionerActor,
            batch_size=GPU_ACTOR_BATCH if gpus else CPU_ACTOR_BATCH,
            fn_constructor_args=actor,
            compute=ActorPoolStrategy(size=gpus or max(1, cpus)),
            **place,
        )
    )
    for batch in captioned.iter_batches(batch_size=None, batch_format="numpy"):
        for number, index, outcome in zip(batch["partition"], batch["index"], batch["outcome"], strict=True):
            yield int(number), int(index), ImageOutcome(*json.loads(outcome))


class _Decoder:
    """Reads and decodes images to the pixels of an encoder, whose weights it does not need."""

    def __init__(self, spec: "EncoderSpec") -> None:
        self._spec = spec

    def __call__(self, batch: _Columns) -> _Columns:
        from wordgaze.inference.inputs import image_key
        from wordgaze.vision.encoders import Encoder

        limit_threads(1)
        resize, side, count = Encoder(self._spec, []).pixels, self._spec.image_size, len(batch["index"])
        pixels = np.zeros((count, 3, side, side), np.uint8)
        keys, failures = np.full(count, "", object), np.full(count, "", object)
        for number, source in enumerate(read_ahead(batch["address"].tolist())):
            try:
                if isinstance(source, DataError):
                    raise source
                image = source()
            except DataError as error:
                failures[number] = json.dumps(ImageOutcome.of(batch["address"][number], error))
                continue
            pixels[number], keys[number] = resize([image])[0], image_key(image)
        kept = {name: batch[name] for name in ("partition", "index", "address")}
        return {**kept, "pixels": pixels, "key": keys, "failure": failures}


class _CaptionerActor:
    """Captions batches of pixels with a captioner that it has loaded."""

    def __init__(self, files: Any, settings: WorkerSettings) -> None:
        import ray
        import torch

        if not torch.cuda.is_available():
            limit_threads(1)
        self._card = settings.card
        self._captioner = worker_captioner(settings.card.captioner, lambda: ray.get(files))

    def __call__(self, batch: _Columns) -> _Columns:
        import torch

        outcomes = batch["failure"].copy()
        if len(readable := np.flatnonzero(outcomes == "")):
            features = self._captioner.encode(torch.from_numpy(batch["pixels"][readable]))
            keys = batch["key"][readable].tolist()
            captions = self._captioner.generate(features, self._card.generation, keys, self._card.seed)
            for number, own in zip(readable, captions, strict=True):
                outcomes[number] = json.dumps(ImageOutcome.of(batch["address"][number], own))
        return {"partition": batch["partition"], "index": batch["index"], "outcome": outcomes}


def _table(number: int, addresses: list[str]) -> Any:
    import pyarrow as pa

    count = len(addresses)
    return pa.table({"partition": [number] * count, "index": range(count), "address": addresses})


def _configure(address: str) -> None:
    """Sets what Ray reads when it is imported. What the user has set is kept."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report the use to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it prints errors that are none: an actor has arguments
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its own future default, without a warning
    if address == LOCAL:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # it then listens on 127.0.0.1 alone
        for name in ("RAY_agent_register_timeout_ms", "RAY_raylet_start_wait_time_s"):
            os.environ.setdefault(name, _START_SECONDS + ("000" if name.endswith("_ms") else ""))


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connects to a cluster, or starts one of this machine. Within a program that has done so nothing is done."""
    import ray

    if ray.is_initialized():
        yield
        return
    own = {"include_dashboard": False, "num_cpus": available_cpus()} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:  # Ray raises Exception itself
        raise DistributedError(
            f"Ray at {address} cannot be reached ({reason_of(error):.300}); start Ray there, or change --cluster"
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # where Ray's own messages of lost workers belong
            yield
    finally:
        ray.shutdown()
