"""Captions image files while the next ones are opened and encoded in threads.

Each thread opens a few images, resizes and encodes them with one core. That is faster than one network for all of them
on all cores: no core waits for another, and the feature maps of a few images stay in the cache of a core.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioned import CaptionedImage, ImageSource
from wordgaze.inference.captioner import Captioner, generate_ensemble
from wordgaze.inference.inputs import BATCH_SIZE, batches, image_key
from wordgaze.vision.encoders import CPU_BATCH

_SAMPLING = ("sample", "mbr")  # the strategies that depend on the key of an image


class _Encoded(NamedTuple):
    """The features (1, L, D) of an image under each captioner and its key; or the error of opening it."""

    features: tuple[Tensor, ...]
    key: str
    error: DataError | None = None


def caption_ahead(
    captioners: Sequence[Captioner], sources: Iterable[ImageSource], generation_config: GenerationConfig, seed: int = 0
) -> Iterator[CaptionedImage]:
    """Yields one result without its image per source, in order.

    A thread holds one image at a time. ``sources`` is iterated in the thread of the caller, up to one batch and a few
    images for each core ahead of the results. Errors are those of
    :func:`wordgaze.inference.caption_stream.caption_stream`.
    """
    threads = min(available_cpus(), torch.get_num_threads())
    encode = partial(_encode, captioners, generation_config.strategy in _SAMPLING)
    parts = map_ahead(encode, batches(sources, lambda _: 0, CPU_BATCH), threads, threads + 1)
    cores = torch.get_num_threads()
    try:
        for batch in batches(chain.from_iterable(parts), lambda _: 0, BATCH_SIZE):
            encoded = [image for image in batch if image.error is None]
            captions = iter(_generate(captioners, encoded, generation_config, seed) if encoded else ())
            yield from (
                CaptionedImage("", None, [], image.error) if image.error else CaptionedImage("", None, next(captions))
                for image in batch
            )
    finally:
        parts.close()
        torch.set_num_threads(cores)  # also of threads that start later: they take the number that was set last


def _generate(
    captioners: Sequence[Captioner], encoded: Sequence[_Encoded], generation_config: GenerationConfig, seed: int
) -> list[list[Caption]]:
    with _one_core():
        features = [torch.cat(rows) for rows in zip(*(image.features for image in encoded), strict=True)]
        return generate_ensemble(captioners, features, generation_config, [image.key for image in encoded], seed)


def _encode(captioners: Sequence[Captioner], needs_key: bool, sources: Sequence[ImageSource]) -> list[_Encoded]:
    torch.set_num_threads(1)  # of this thread
    opened = [_open(captioners, needs_key, source) for source in sources]
    pixels = [image.features for image in opened if image.error is None]
    if not pixels:
        return opened
    batches_of_pixels = zip(captioners, zip(*pixels, strict=True), strict=True)
    together = [captioner.encode(torch.cat(own)) for captioner, own in batches_of_pixels]
    features = zip(*(torch.split(own, 1) for own in together), strict=True)
    return [image if image.error else image._replace(features=next(features)) for image in opened]


def _open(captioners: Sequence[Captioner], needs_key: bool, source: ImageSource) -> _Encoded:
    """With the pixels (1, 3, S, S) for each captioner in place of the features."""
    try:
        if isinstance(source, DataError):
            raise source
        image = source()
    except DataError as error:
        return _Encoded((), "", error)
    pixels = tuple(captioner.encoder.pixels([image]) for captioner in captioners)
    return _Encoded(pixels, image_key(image) if needs_key else "")


@contextmanager
def _one_core() -> Iterator[None]:
    """Computes with one core within the block, because the threads that encode use the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
