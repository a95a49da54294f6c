"""Computes the features of image files, batch by batch, and writes them to shards."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wordgaze.config.params import FeaturesParams
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.distributed.ranks import Ranks
from wordgaze.vision.decoding_process import decode_reduced
from wordgaze.vision.encoders import CPU_BATCH, Encoder, build_encoder
from wordgaze.vision.feature_shards import ShardFolder, write_shards
from wordgaze.vision.picture_keys import PictureKeys, read_picture

PIXEL_MEMORY = 256 * 2**20
"""Bytes that decoded images may occupy while they wait for a GPU."""

_GPU_BATCH = 128


class _ImageFile(NamedTuple):
    """An image file and the checksum that it had when it was looked at first."""

    path: Path
    key: bytes


def encoder_of(settings: FeaturesParams) -> Encoder:
    """The encoder of the section ``features``, before it is fine-tuned. Raises ModelError as :func:`build_encoder`."""
    return build_encoder(
        settings.encoder, settings.weights, settings.image_size, settings.grid, settings.depths, settings.upsample_last
    )


def extract_features(
    encoder: Encoder,
    settings: FeaturesParams,
    image_folder: Path,
    pictures: PictureKeys,
    folder: Path,
    previous: Sequence[ShardFolder] = (),
    ranks: Ranks | None = None,
) -> int:
    """Writes the features of ``pictures``, files of ``image_folder``, to shards in ``folder``.

    Features that are there, or in ``previous``, are not computed again. On a CPU each core opens and encodes a few
    images at a time. On a GPU the images of a batch are opened by all cores. Several ranks divide the shards and the
    cores. Raises ImageError for an image that cannot be read, or that has changed since its key was computed, and
    DistributedError if a rank was lost. Returns how many pictures were computed.
    """
    ranks = ranks or Ranks()
    device = pick_device(settings.device)
    fast: list[Encoder] = []
    extract = _with_cores if device.type == "cpu" else partial(_with_gpu, threads=ranks.share_of(available_cpus()))
    size = settings.batch_size or (CPU_BATCH if device.type == "cpu" else _GPU_BATCH)

    @torch.inference_mode()
    def encode(names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
        if not fast:  # which takes a second or more, and may not be needed
            fast.append(encoder.optimised(device, pick_dtype(settings.precision, device)))
        files = [_ImageFile(image_folder / name, key) for name, key in zip(names, keys, strict=True)]
        features = []
        for batch in extract(fast[0], files, size):
            ranks.check()
            features.append(batch)
        return torch.cat(features).contiguous()

    with ranks.divided_threads():
        return write_shards(folder, pictures, settings.dtype, encode, previous, ranks)


def computed_by(settings: FeaturesParams) -> dict[str, str]:
    """What decides the features of a picture besides the encoder: the kernels that compute them."""
    device = pick_device(settings.device)
    processor = torch.cuda.get_device_name() if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "device": f"{device.type} ({processor})",
        "precision": str(pick_dtype(settings.precision, device)).removeprefix("torch."),
        "torch": torch.__version__.partition("+")[0],  # without the name of the build
    }


def _pixels(encoder: Encoder, file: _ImageFile) -> Tensor:
    """The pixels (1, 3, S, S) of an image file."""
    content = read_picture(file.path, file.key)
    return encoder.pixels([decode_reduced(content, None, str(file.path)).picture])


def _features(encoder: Encoder, pixels: Sequence[Tensor], size: int) -> Tensor:
    """Features (B, L, D) of B images, computed as a batch of ``size``, which is filled up with the last image.

    Some kernels round otherwise in batches of another size, and a picture may come alone or with others.
    """
    filled = [*pixels, *[pixels[-1]] * (size - len(pixels))]
    device = next(encoder.parameters()).device
    return encoder(torch.cat(filled).to(device))[: len(pixels)].to("cpu", torch.bfloat16)  # type: ignore[no-any-return]


def _with_cores(encoder: Encoder, files: Sequence[_ImageFile], size: int) -> Iterator[Tensor]:
    threads = torch.get_num_threads()

    def encode(part: Sequence[_ImageFile]) -> Tensor:
        torch.set_num_threads(1)  # of this thread
        with torch.inference_mode():
            pixels = [_pixels(encoder, file) for file in part]  # one image of full size at a time in each thread
            return _features(encoder, pixels, size)

    parts = (files[i : i + size] for i in range(0, len(files), size))
    try:
        yield from map_ahead(encode, parts, threads, threads + 1)
    finally:
        torch.set_num_threads(threads)  # of threads that start later: they take the number that was set last


def _with_gpu(encoder: Encoder, files: Sequence[_ImageFile], size: int, threads: int) -> Iterator[Tensor]:
    # Decoded images wait as uint8: at most those of two batches, and at most PIXEL_MEMORY bytes.
    ahead = max(1, min(2 * size, PIXEL_MEMORY // (3 * encoder.spec.image_size**2)))
    pixels = map_ahead(lambda file: _pixels(encoder, file), files, threads, ahead)
    for batch in iter(lambda: list(islice(pixels, size)), []):
        yield _features(encoder, batch, size)
