"""Computes the features of image files, batch by batch, and writes them to shards."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordgaze.config.params import FeaturesParams
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.core.progress import track
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.encoders import CPU_BATCH, Encoder
from wordgaze.vision.feature_store import write_shards

PIXEL_MEMORY = 256 * 2**20
"""Bytes that decoded images may occupy while they wait for a GPU."""

_GPU_BATCH = 128


def extract_features(
    encoder: Encoder, settings: FeaturesParams, image_folder: Path, images: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Writes the features of ``images``, files of ``image_folder``, to shards in ``folder``; returns the index.

    Shards that are there are kept. On a CPU each core opens and encodes a few images at a time. On a GPU the images of
    a batch are opened by all cores. Raises ImageError for an image that cannot be read.
    """
    device = pick_device(settings.device)
    fast = encoder.optimised(device, pick_dtype(settings.precision, device))
    extract = _with_cores if device.type == "cpu" else _with_gpu
    size = settings.batch_size or (CPU_BATCH if device.type == "cpu" else _GPU_BATCH)

    @torch.inference_mode()
    def encode(names: Sequence[str]) -> Tensor:
        return torch.cat(list(extract(fast, [image_folder / name for name in names], size))).contiguous()

    return write_shards(
        folder, images, settings.shard_size, encode, lambda shards, total: track(shards, "features: shards", total)
    )


def _with_cores(encoder: Encoder, files: Sequence[Path], size: int) -> Iterator[Tensor]:
    threads = torch.get_num_threads()

    def read(file: Path) -> Tensor:
        return encoder.pixels([decode_safely(file)])  # one image of full size at a time in each thread

    def encode(part: Sequence[Path]) -> Tensor:
        torch.set_num_threads(1)  # of this thread
        with torch.inference_mode():
            return encoder(torch.cat([read(file) for file in part])).to(torch.bfloat16)  # type: ignore[no-any-return]

    parts = (files[i : i + size] for i in range(0, len(files), size))
    try:
        yield from map_ahead(encode, parts, threads, threads + 1)
    finally:
        torch.set_num_threads(threads)  # of threads that start later: they take the number that was set last


def _with_gpu(encoder: Encoder, files: Sequence[Path], size: int) -> Iterator[Tensor]:
    def read(file: Path) -> Tensor:
        return encoder.pixels([decode_safely(file)])

    # Decoded images wait as uint8: at most those of two batches, and at most PIXEL_MEMORY bytes.
    ahead = max(1, min(2 * size, PIXEL_MEMORY // (3 * encoder.spec.image_size**2)))
    pixels = map_ahead(read, files, available_cpus(), ahead)
    device = next(encoder.parameters()).device
    for batch in iter(lambda: list(islice(pixels, size)), []):
        yield encoder(torch.cat(batch).to(device)).to("cpu", torch.bfloat16)
