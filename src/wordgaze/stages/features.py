"""Stage ``features``: a frozen CNN turns every picture into a grid of features."""

import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.config.params import FeaturesParams, Params
from wordgaze.core import paths
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.errors import DataError
from wordgaze.core.files import fingerprint, sha256, write_tensors, write_text
from wordgaze.core.progress import track
from wordgaze.data.contracts import check
from wordgaze.data.records import read_records
from wordgaze.tracking.reporting import log_contract
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.encoders import Encoder, build_encoder
from wordgaze.vision.feature_store import shard_name, write_manifest, write_shards
from wordgaze.vision.images import load_image


def run(params: Params) -> None:
    """Writes ``data/features``. Interrupted, it goes on from the shards that are done."""
    settings = params.features
    source = paths.RAW / "captions.jsonl"
    if not source.is_file():
        raise DataError(f"{source} is missing; run dvc repro download")
    images = [record.image for record in read_records(source)]
    with stage_run("features", {"features": settings.model_dump()}) as tracked:
        encoder = build_encoder(settings.encoder, settings.weights, settings.image_size, settings.grid, settings.depths)
        weights = _save_weights(encoder, paths.scratch("encoder") / f"{os.getpid()}.safetensors")
        folder = paths.scratch(f"features-{_key(settings, source, weights)}")
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(weights, folder / "encoder.safetensors")
        started = time.monotonic()
        index = _compute(settings, encoder, images, folder)
        tracked.metrics({"images": len(images), "images_per_second": len(images) / (time.monotonic() - started)})
        report = check("features", _table(folder, index))
        write_text(folder / "contract.json", report.to_json())
        log_contract(tracked, report)
        write_manifest(folder, encoder.spec, sha256(folder / "encoder.safetensors"), index, "bfloat16")
        shutil.rmtree(paths.FEATURES, ignore_errors=True)
        paths.FEATURES.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, paths.FEATURES)


def _save_weights(encoder: Encoder, path: Path) -> Path:
    write_tensors(path, encoder.state_dict())
    return path


def _key(settings: FeaturesParams, source: Path, weights: Path) -> str:
    """Names the scratch folder by all that the features depend on."""
    pictures = [[path.name, path.stat().st_size, sha256(path)] for path in sorted((source.parent / "images").iterdir())]
    return fingerprint(settings.model_dump(), sha256(source), sha256(weights), pictures)


def _compute(settings: FeaturesParams, encoder: Encoder, images: list[str], folder: Path) -> dict[str, Any]:
    device = pick_device(settings.device)
    size = settings.batch_size or (8 if device.type == "cpu" else 128)
    fast = encoder.optimised(device, pick_dtype(settings.precision, device))

    def read(names: Sequence[str]) -> Tensor:
        return fast.pixels([load_image(paths.RAW / "images" / name) for name in names])

    @torch.inference_mode()
    def encode(names: Sequence[str]) -> Tensor:
        batches = [names[i : i + size] for i in range(0, len(names), size)]
        with ThreadPoolExecutor(2) as readers:
            pixels = readers.map(read, batches)
            return torch.cat([fast(p.to(device)).to("cpu", torch.bfloat16) for p in pixels]).contiguous()

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
