"""Trainings of several ranks, as functions that the processes of the ranks can import."""

import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from tests.stored_features import pictures_named
from tests.training.test_train_step import UNEQUAL, gradients, train_step
from tests.training.test_trainer import EXAMPLES, SIZES, Killed, Store, changed, minus_loss, nothing, rewarding
from tests.vision.test_feature_shards import Encoder
from wordgaze.config.params import FinetuneParams
from wordgaze.core.errors import DataError, DistributedError, ModelError
from wordgaze.data.prepared import Prepared
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.decoder import Decoder
from wordgaze.models.kernels.packing import BatchPart
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.training.batches import Batch, BatchLoader, part_bounds
from wordgaze.training.distributed import DataParallel
from wordgaze.training.finetune import FinetuneTask, finetune
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import Trainer
from wordgaze.vision import feature_shards
from wordgaze.vision.encoders import build_encoder
from wordgaze.vision.feature_shards import write_shards

CPU = torch.device("cpu")
Job = Callable[[Ranks], Any]
PICTURES = [f"{n}.jpg" for n in range(60)]
NO_DROPOUT: dict[str, object] = {"dropout_embedding": 0.0, "dropout_features": 0.0, "dropout_output": 0.0}


def curve(
    ranks: Ranks,
    folder: Path,
    model: dict[str, object],
    stop: int = 0,
    objective: Objective | None = None,
    **settings: object,
) -> list[float]:
    """The loss of each step of a training of 54 steps, of which this process takes those until ``stop``."""
    torch.manual_seed(5)
    params = changed(**{"epochs": 18, "patience": 18, "learning_rate": 0.01, **settings})
    decoder = Decoder(SIZES.model_copy(update=model), 3, 8)
    batches = BatchLoader(EXAMPLES, Store(), params.batch_size, 5)  # type: ignore[arg-type]
    checkpoint = folder / "checkpoint.safetensors"
    trainer = Trainer(decoder, batches, minus_loss, params, 5, checkpoint, None, objective, ranks)
    losses, update = list[float](), trainer.update

    def recorded(step: DataParallel, batch: Batch) -> None:
        before = trainer.state.metric_sums.get("train_loss", 0.0)
        update(step, batch)
        losses.append(trainer.state.metric_sums["train_loss"] - before)

    def on_step(done: int, _: int) -> None:
        if done == stop:
            raise Killed

    trainer.update = recorded  # type: ignore[method-assign]
    with suppress(Killed):
        trainer.train(nothing, on_step)
    return losses


def finetuned(ranks: Ranks, folder: Path) -> list[float]:
    """The loss of each epoch of the training of an encoder on images that are cropped and mirrored at random."""
    captions: dict[str, Any] = {"train": {}, "dev": {}, "test": {}}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(10):
        Image.linear_gradient("L").rotate(36 * i).convert("RGB").save(folder / "images" / f"{i}.png")
        captions["train" if i < 8 else "dev"][f"{i}.png"] = [["a", "slope"], ["slope"]][: 1 + i % 2]
    prepared = Prepared(captions, {}, Vocabulary((*SPECIAL, "a", "slope")))
    encoder = build_encoder("timm/test_efficientnet", "random", image_size=64)
    settings = FinetuneParams(blocks=2, epochs=4, batch_size=4, learning_rate=1e-2, device="cpu")
    task = FinetuneTask(prepared, folder / "images", encoder, SIZES, settings, 6, 5)
    curve = finetune(task, folder / "scratch", nothing, nothing, ranks)
    return [row["train_loss"] for row in curve]


def rewarded(ranks: Ranks, folder: Path) -> list[float]:
    """The losses of both objectives together, without dropout."""
    return curve(ranks, folder, NO_DROPOUT, 6, rewarding(0.5))


def joined_curve(ranks: Ranks, folder: Path, device: str) -> list[float]:
    """The loss of each step on devices of this kind."""
    ranks.join({}, torch.device(device))
    return curve(ranks, folder, {}, device=device)


def resumed(ranks: Ranks, folder: Path, stop: int = 0) -> list[float]:
    """As :func:`curve`, with dropout, from the checkpoint that is in the folder of the first rank alone."""
    return curve(ranks, folder if ranks.is_first else folder / "elsewhere", {}, stop)


def part_of(batch: Batch, ranks: Ranks) -> Batch:
    first, end = part_bounds(len(batch.images), ranks.rank, ranks.world_size)
    return Batch(
        batch.features[first:end], batch.captions[first:end], batch.images[first:end], BatchPart(first, batch.captions)
    )


def one_step(ranks: Ranks, name: str, hard: bool = False) -> dict[str, Any]:
    """What a step of the whole batch returns; the cells of hard attention are the likeliest, so that none is drawn."""
    draw = torch.multinomial
    torch.multinomial = lambda weights, _: weights.argmax(1, keepdim=True)  # type: ignore[assignment]
    try:
        step = DataParallel(train_step(name, hard), ranks)
        torch.manual_seed(7)
        output = step(part_of(UNEQUAL, ranks) if ranks.world_size > 1 else UNEQUAL)
    finally:
        torch.multinomial = draw
    reward = tuple(output.reward) if output.reward else None
    return {**output.metrics, "loss": float(output.loss), "reward": reward, "gradients": gradients(step.train_step)}


def features(ranks: Ranks, folder: Path, stop: int = 0) -> tuple[int, dict[str, bytes]]:
    """How many features were computed, in groups of two for each rank, and the files. Each rank ends at its group
    ``stop``."""
    encoder, groups = Encoder(), count(1)

    def encode(names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
        if next(groups) == stop:
            raise Killed
        return encoder(names, keys)

    feature_shards._TOGETHER = 2
    try:
        computed = write_shards(folder, pictures_named(PICTURES, 1), "bf16", encode, (), ranks)
    except Killed:
        return 0, {}
    return computed, {path.name: path.read_bytes() for path in folder.iterdir()}


def broken(ranks: Ranks, folder: Path) -> str:
    """The error of a training in which an image of the last rank has features that are no numbers."""
    store = Store(math.nan if ranks.rank + 1 == ranks.world_size else 1.0)
    batches = BatchLoader(EXAMPLES, store, 4, 5)  # type: ignore[arg-type]
    trainer = Trainer(Decoder(SIZES, 3, 8), batches, minus_loss, changed(batch_size=4), 5, folder / "c", ranks=ranks)
    try:
        trainer.train(nothing, nothing)
    except ModelError as error:
        return str(error)
    return ""


def differing(ranks: Ranks) -> str:
    """The error of ranks of which the last has another params.yaml."""
    own = {"source code": "a", "params.yaml": str(ranks.rank + 1 == ranks.world_size), "data/prepared": "b"}
    try:
        Ranks(ranks.rank, ranks.world_size, 1, PrefixStore("differing", ranks.store)).join(own, CPU)
    except DistributedError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Jobs:
    """Does jobs one after the other, each with the first so many ranks, and keeps what the first one returns."""

    jobs: dict[tuple[str, int], Job]

    def __call__(self, ranks: Ranks) -> dict[tuple[str, int], Any]:
        results = {}
        for (name, world_size), job in self.jobs.items():
            if ranks.rank < world_size:
                own = Ranks(ranks.rank, world_size, 1, PrefixStore(f"{name} {world_size}", ranks.store))
                if name != "differing":
                    own.join({"data": "equal"}, CPU)
                results[name, world_size] = job(own)
                own.leave()
        return results


def failing(ranks: Ranks, how: str) -> None:
    """Two steps, in the second of which the last rank does not take part."""
    ranks.join({}, CPU)
    step = DataParallel(train_step(), ranks)
    step(part_of(UNEQUAL, ranks))
    if not ranks.is_first:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "failed":
            raise DataError("data/features is damaged; run dvc repro")
        time.sleep(60)
    if how == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    step(part_of(UNEQUAL, ranks))


def fail_as(how: str) -> Callable[[Ranks], None]:
    return partial(failing, how=how)
