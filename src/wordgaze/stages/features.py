"""Stage ``features``: computes the feature grid of every image with a frozen encoder."""

import os
import shutil
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.config.params import FeaturesParams, Params
from wordgaze.core import paths
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.files import atomic_directory, fingerprint, sha256, write_tensors, write_text
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.core.progress import track
from wordgaze.core.scratch import shared_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.contracts import check
from wordgaze.data.records import read_records
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.encoders import Encoder, build_encoder
from wordgaze.vision.feature_store import TAGGER, shard_name, write_manifest, write_shards
from wordgaze.vision.images import load_image
from wordgaze.vision.tagger import Tagger

PIXEL_MEMORY = 256 * 2**20
"""Bytes that decoded images may occupy while they wait for the encoder."""


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
        weights = _save_weights(encoder, paths.scratch("encoder") / f"{os.getpid()}.safetensors")
        with shared_scratch(f"features-{_key(params, source, weights)}") as folder:
            os.replace(weights, folder / "encoder.safetensors")
            tagger = Tagger.from_networks(encoder.spec, settings.weights)
            write_tensors(folder / TAGGER, tagger.tensors() if tagger else {})
            started = time.monotonic()
            index = _compute(settings, encoder, images, folder)
            tracked.metrics({"images": len(images), "images_per_second": len(images) / (time.monotonic() - started)})
            report = check("features", _table(folder, index))
            write_text(folder / "contract.json", report.to_json())
            log_contract(tracked, report)
            write_manifest(folder, encoder.spec, sha256(folder / "encoder.safetensors"), index, "bfloat16")
            with atomic_directory(paths.FEATURES) as target:
                shutil.copytree(folder, target, copy_function=_link_or_copy, dirs_exist_ok=True)


def _save_weights(encoder: Encoder, path: Path) -> Path:
    write_tensors(path, encoder.state_dict())
    return path


def _link_or_copy(source: str, target: str) -> None:
    """A second name for the same data, where the file system supports it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _key(params: Params, source: Path, weights: Path) -> str:
    """The name of the scratch folder, a hash of everything that the features depend on."""
    images = [[path.name, path.stat().st_size, sha256(path)] for path in sorted((source.parent / "images").iterdir())]
    code = code_fingerprint("features")
    return fingerprint(params.features.model_dump(), params.reproducible, sha256(source), sha256(weights), images, code)


def _compute(settings: FeaturesParams, encoder: Encoder, images: list[str], folder: Path) -> dict[str, Any]:
    device = pick_device(settings.device)
    size = settings.batch_size or (8 if device.type == "cpu" else 128)
    fast = encoder.optimised(device, pick_dtype(settings.precision, device))
    # Decoded images wait as uint8: at most those of two batches, and at most PIXEL_MEMORY bytes.
    ahead = max(1, min(2 * size, PIXEL_MEMORY // (3 * encoder.spec.image_size**2)))

    def read(name: str) -> Tensor:
        return fast.pixels([load_image(paths.RAW / "images" / name)])

    @torch.inference_mode()
    def encode(names: Sequence[str]) -> Tensor:
        pixels = map_ahead(read, names, available_cpus(), ahead)
        batches = (torch.cat(batch) for batch in iter(lambda: list(islice(pixels, size)), []))
        return torch.cat([fast(batch.to(device)).to("cpu", torch.bfloat16) for batch in batches]).contiguous()

    return write_shards(
        folder, images, settings.shard_size, encode, lambda shards, total: track(shards, "features: shards", total)
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
