"""Stage ``features``: computes the feature grid of every image with a frozen encoder."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.dvc_cache import previous_output
from wordgaze.core.files import atomic_directory, fingerprint, sha256, write_tensors, write_text
from wordgaze.core.leftovers import temporary_name
from wordgaze.core.scratch import shared_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.contracts import check
from wordgaze.data.records import iterate_records
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.encoders import Encoder, EncoderSpec, build_encoder
from wordgaze.vision.feature_extraction import computed_by, extract_features
from wordgaze.vision.feature_shards import NORM
from wordgaze.vision.feature_store import ENCODER, TAGGER, files_of_store, shards_computed_by, write_manifest
from wordgaze.vision.picture_keys import PictureKeys, read_keys
from wordgaze.vision.tagger import Tagger

_CONTRACT = "contract.json"


def run(params: Params) -> None:
    """Writes ``data/features``. Only the features of pictures are computed that no earlier run has computed in the same
    way: the interrupted one, or the one whose result is in DVC's cache.

    Two runs with equal settings, such as queued experiments, share one scratch folder: the second waits for the first
    and takes over its shards.
    """
    settings = params.features
    images = [record.image for record in iterate_records(paths.RAW / "captions.jsonl")]
    with stage_run("features", {"features": settings.model_dump()}) as tracked:
        encoder = build_encoder(settings.encoder, settings.weights, settings.image_size, settings.grid, settings.depths)
        weights = _save_weights(encoder)
        made_by = {**computed_by(settings), "code": code_fingerprint("features")}
        made_by["kernels"] = "any_cpu" if params.fixes_kernels else "same_machine"
        how = (encoder.spec, sha256(weights), settings.dtype, made_by)
        with shared_scratch(f"features-{_key(*how)}") as folder, previous_output(paths.FEATURES) as cached:
            os.replace(weights, folder / ENCODER)
            tagger = Tagger.from_networks(encoder.spec, settings.weights)
            write_tensors(folder / TAGGER, tagger.tensors() if tagger else {})
            started = time.monotonic()
            pictures = PictureKeys.of(images, read_keys(paths.RAW / "images", images), settings.shard_size)
            previous = [shards_computed_by(each, *how) for each in (paths.FEATURES, cached)]
            computed = extract_features(encoder, settings, paths.RAW / "images", pictures, folder, previous)
            speed = computed / (time.monotonic() - started)
            tracked.metrics({"images": len(images), "images_computed": computed, "images_per_second": speed})
            report = check("features", _table(folder, pictures))
            log_contract(tracked, report)
            write_manifest(folder, encoder.spec, how[1], pictures, settings.dtype, made_by)
            with atomic_directory(paths.FEATURES) as target:
                for path in files_of_store(folder):
                    _link_or_copy(path, target / path.name)
                write_text(target / _CONTRACT, report.to_json())


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
