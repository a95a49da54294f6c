"""Computes the features of image files, batch by batch, while threads decode the next images."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordgaze.config.params import FeaturesParams
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.core.progress import track
from wordgaze.vision.encoders import Encoder
from wordgaze.vision.feature_store import write_shards
from wordgaze.vision.images import load_image

PIXEL_MEMORY = 256 * 2**20
"""Bytes that decoded images may occupy while they wait for the encoder."""

_BATCH_SIZES = {"cpu": 8, "cuda": 128}  # more images do not fit the cache of a CPU


def extract_features(
    encoder: Encoder, settings: FeaturesParams, image_folder: Path, images: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Writes the features of ``images``, files of ``image_folder``, to shards in ``folder``; returns the index.

    Shards that are there are kept. Raises ImageError for an image that cannot be read.
    """
    device = pick_device(settings.device)
    size = settings.batch_size or _BATCH_SIZES[device.type]
    fast = encoder.optimised(device, pick_dtype(settings.precision, device))
    # Decoded images wait as uint8: at most those of two batches, and at most PIXEL_MEMORY bytes.
    ahead = max(1, min(2 * size, PIXEL_MEMORY // (3 * encoder.spec.image_size**2)))

    def read(name: str) -> Tensor:
        return fast.pixels([load_image(image_folder / name)])

    @torch.inference_mode()
    def encode(names: Sequence[str]) -> Tensor:
        pixels = map_ahead(read, names, available_cpus(), ahead)
        batches = (torch.cat(batch) for batch in iter(lambda: list(islice(pixels, size)), []))
        return torch.cat([fast(batch.to(device)).to("cpu", torch.bfloat16) for batch in batches]).contiguous()

    return write_shards(
        folder, images, settings.shard_size, encode, lambda shards, total: track(shards, "features: shards", total)
    )
