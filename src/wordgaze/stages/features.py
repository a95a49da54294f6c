"""Stage ``features``: computes the feature grid of every image with a frozen encoder."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.files import atomic_directory, fingerprint, sha256, write_tensors, write_text
from wordgaze.core.leftovers import temporary_name
from wordgaze.core.scratch import shared_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.contracts import check
from wordgaze.data.records import read_records
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.encoders import Encoder, build_encoder
from wordgaze.vision.feature_extraction import extract_features
from wordgaze.vision.feature_store import TAGGER, shard_name, write_manifest
from wordgaze.vision.tagger import Tagger


def run(params: Params) -> None:
    """Writes ``data/features``. An interrupted run is resumed from the shards that are complete.

    Two runs with equal inputs, such as queued experiments, share one scratch folder: the second waits for the first
    and takes over its shards.
    """
    settings = params.features
    source = paths.RAW / "captions.jsonl"
    images = [record.image for record in read_records(source)]
    with stage_run("features", {"features": settings.model_dump()}) as tracked:
        encoder = build_encoder(settings.encoder, settings.weights, settings.image_size, settings.grid, settings.depths)
        weights = _save_weights(encoder)
        with shared_scratch(f"features-{_key(params, source, weights)}") as folder:
            os.replace(weights, folder / "encoder.safetensors")
            tagger = Tagger.from_networks(encoder.spec, settings.weights)
            write_tensors(folder / TAGGER, tagger.tensors() if tagger else {})
            started = time.monotonic()
            index = extract_features(encoder, settings, paths.RAW / "images", images, folder)
            tracked.metrics({"images": len(images), "images_per_second": len(images) / (time.monotonic() - started)})
            report = check("features", _table(folder, index))
            write_text(folder / "contract.json", report.to_json())
            log_contract(tracked, report)
            write_manifest(folder, encoder.spec, sha256(folder / "encoder.safetensors"), index, "bfloat16")
            with atomic_directory(paths.FEATURES) as target:
                for path in folder.iterdir():
                    _link_or_copy(path, target / path.name)


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


def _key(params: Params, source: Path, weights: Path) -> str:
    """The name of the scratch folder, a hash of everything that the features depend on."""
    images = [[path.name, path.stat().st_size, sha256(path)] for path in sorted((source.parent / "images").iterdir())]
    code = code_fingerprint("features")
    return fingerprint(
        params.features.model_dump(), params.fixes_kernels, sha256(source), sha256(weights), images, code
    )


def _table(folder: Path, index: dict[str, Any]) -> Any:
    import pandas as pd

    table = pd.DataFrame([(image, *place) for image, place in index.items()], columns=["image", "shard", "row"])
    finite, norm = [], []
    for number in sorted(set(table["shard"])):
        features = load_file(folder / shard_name(number))["features"].float()
        finite += torch.isfinite(features).flatten(1).all(1).tolist()
        norm += features.norm(dim=2).mean(1).tolist()
    return table.assign(finite=finite, norm=norm)
