"""Stage ``features``: computes the feature grid of every image with the encoder, fine-tuned or as it is."""

import logging
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.checksums import read_checksums
from wordgaze.core.device import pick_device
from wordgaze.core.dvc_cache import previous_output
from wordgaze.core.files import atomic_directory, fingerprint, sha256, write_tensors, write_text
from wordgaze.core.leftovers import temporary_name
from wordgaze.core.logs import LOGGER, configure_logging
from wordgaze.core.parallel import map_ahead
from wordgaze.core.progress import track
from wordgaze.core.scratch import shared_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.contracts import check
from wordgaze.data.records import iterate_records
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import StageRun, stage_run
from wordgaze.vision.encoders import Encoder, EncoderSpec
from wordgaze.vision.feature_extraction import computed_by, encoder_of, extract_features
from wordgaze.vision.feature_shards import NORM
from wordgaze.vision.feature_store import ENCODER, TAGGER, files_of_store, shards_computed_by, write_manifest
from wordgaze.vision.finetuned_encoder import load_finetuned
from wordgaze.vision.picture_keys import PictureKeys, read_keys
from wordgaze.vision.shard_objects import ShardObjects
from wordgaze.vision.tagger import Tagger

_CONTRACT = "contract.json"
_WRITERS = 8  # threads that write shards to an address


def run(params: Params) -> None:
    """Writes ``data/features``. Only the features of pictures are computed that no earlier run has computed in the same
    way: the interrupted one, or the one whose result is in DVC's cache.

    Two runs with equal settings, such as queued experiments, share one scratch folder: the second waits for the first
    and takes over its shards. Several ranks divide the shards where ``devices`` or the environment of torchrun says so.
    """
    main = partial(_run_as, params)
    with started_ranks(params.features, main) as ranks:
        main(ranks)


def _run_as(params: Params, ranks: Ranks) -> None:
    """Computes as one of the ranks; the first one alone tracks, and writes what is not a shard."""
    images = [record.image for record in iterate_records(paths.RAW / "captions.jsonl")]
    if ranks.is_first:
        with stage_run("features", {"features": params.features.model_dump()}) as tracked:
            _run_as_first(_Work(params, images), ranks, tracked)
        return
    configure_logging()
    logging.getLogger(LOGGER).setLevel(logging.WARNING)  # of its own shards
    work = _Work(params, images)
    work.weights.unlink()
    ranks.join(work.checksums(), pick_device(params.features.device))
    work.compute(paths.scratch(work.scratch), ranks)


def _run_as_first(work: "_Work", ranks: Ranks, tracked: StageRun) -> None:
    settings, (spec, weights_sha256, dtype, made_by) = work.settings, work.how
    with shared_scratch(work.scratch) as folder:  # before the other ranks, which would not wait for hours
        ranks.join(work.checksums(), pick_device(settings.device))
        os.replace(work.weights, folder / ENCODER)
        # The classifiers of the networks do not fit the features of other weights.
        tagger = None if work.is_finetuned else Tagger.from_networks(spec, settings.weights)
        write_tensors(folder / TAGGER, tagger.tensors() if tagger else {})
        if settings.address:  # before hours of work, whether it can be written
            ShardObjects(settings.address).store(folder / TAGGER, sha256(folder / TAGGER))
        started = time.monotonic()
        pictures, computed = work.compute(folder, ranks)
        speed = computed / (time.monotonic() - started)
        tracked.metrics({"images": len(work.images), "images_computed": computed, "images_per_second": speed})
        report = check("features", _table(folder, pictures))
        log_contract(tracked, report)
        write_manifest(folder, spec, weights_sha256, pictures, dtype, made_by, settings.address)
        with atomic_directory(paths.FEATURES) as target:
            for path in files_of_store(folder, settings.address):
                _link_or_copy(path, target / path.name)
            write_text(target / _CONTRACT, report.to_json())


class _Work:
    """The images, and all that the features of a picture depend on.

    how: the encoder, the checksum of its weights, the dtype, and what computes. weights: their file, a temporary one.
    scratch: the name of the folder of unfinished work. is_finetuned: whether the weights are those of ``finetune``.
    """

    def __init__(self, params: Params, images: list[str]) -> None:
        self.images, self.settings = images, params.features
        settings = self.settings
        self.encoder = encoder_of(settings)
        self.is_finetuned = params.finetune.blocks > 0
        if self.is_finetuned:
            load_finetuned(paths.FINETUNED_ENCODER, self.encoder)
        self.weights = _save_weights(self.encoder)
        made_by = {**computed_by(settings), "code": code_fingerprint("features")}
        made_by["kernels"] = "any_cpu" if params.fixes_kernels else "same_machine"
        self.how = (self.encoder.spec, sha256(self.weights), settings.dtype, made_by)
        self.scratch = f"features-{_key(*self.how)}"

    def checksums(self) -> dict[str, str]:
        """Checksums of what ranks have to have the same, by names that people know."""
        _, weights, _, made_by = self.how
        values: dict[str, object] = {
            "source code": made_by["code"],
            "params.yaml": self.settings.model_dump(exclude={"devices"}),
            "processor": {name: value for name, value in made_by.items() if name != "code"},
            "weights of the encoder": weights,
            "data/raw": self.images,
        }
        return {name: fingerprint(value) for name, value in values.items()}

    def compute(self, folder: Path, ranks: Ranks) -> tuple[PictureKeys, int]:
        """Writes the shards of this rank; returns all pictures, and how many of them all ranks have computed."""
        raw = paths.RAW / "images"
        keys = read_keys(raw, self.images, ranks)
        pictures = PictureKeys.of(self.images, keys, self.settings.shard_size)
        with previous_output(paths.FEATURES) as cached:
            previous = [shards_computed_by(each, *self.how) for each in (paths.FEATURES, cached)]
            computed = extract_features(self.encoder, self.settings, raw, pictures, folder, previous, ranks)
        if self.settings.address:
            self._store(folder, pictures, ranks)
        return pictures, computed

    def _store(self, folder: Path, pictures: PictureKeys, ranks: Ranks) -> None:
        """Writes the shards to the address, each rank its own."""
        objects, checksums = ShardObjects(self.settings.address), read_checksums(folder)
        names = [shard.name for shard, _ in pictures.shards()][ranks.rank :: ranks.world_size]
        stored = map_ahead(lambda name: objects.store(folder / name, checksums[name]), names, _WRITERS, _WRITERS)
        for _ in track(stored, f"features: {self.settings.address}", len(names)):
            ranks.check()
        ranks.all_gather(None)


def _save_weights(encoder: Encoder) -> Path:
    """Their checksum is a part of the scratch folder's name, so they are written before there is one."""
    path = temporary_name(paths.scratch("encoder") / "weights", suffix=".safetensors")
    try:
        write_tensors(path, encoder.state_dict())
    except OSError as error:
        error.filename = str(path.parent)  # the temporary name means nothing to whoever reads the message
        raise
    return path


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same data, where the file system supports it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _key(spec: EncoderSpec, *others: object) -> str:
    """The name of the scratch folder, a hash of everything that the features of a picture depend on."""
    return fingerprint(spec.model_dump(mode="json"), *others)


def _table(folder: Path, pictures: PictureKeys) -> Any:
    """One row for each picture, by the first of its names."""
    import pandas as pd

    shards, rows = (place.astype(np.int64)[pictures.first] for place in pictures.places())
    norms = np.empty(len(pictures.keys))
    for shard, places in pictures.shards():
        with safe_open(folder / shard.name, "pt") as file:
            norms[places] = file.get_tensor(NORM).numpy()
    names = pictures.names[pictures.first].astype(object)
    columns = {"image": names, "shard": shards, "row": rows}
    return pd.DataFrame({**columns, "finite": ~np.isnan(norms), "norm": norms})
