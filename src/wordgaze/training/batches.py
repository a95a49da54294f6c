"""Training data: images with all their captions, in batches."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wordgaze.text.vocabulary import PAD
from wordgaze.vision.feature_store import FeatureSource


@dataclass(frozen=True)
class Example:
    """An image and its captions as indices, each ending with END."""

    image: str
    captions: tuple[tuple[int, ...], ...]


class BatchSize(NamedTuple):
    """The numbers of images, captions and words (END included) of a batch: what the terms of a loss average over."""

    images: int
    captions: int
    words: int


class Shares(NamedTuple):
    """The part that a process has of a batch, by images, captions and words: 1 for a whole batch.

    A mean over the part, times its share, is what the part adds to the mean over the whole batch. Processes that scale
    every term of the loss by the share of what the term averages over sum up to the loss of one process.
    """

    images: float = 1.0
    captions: float = 1.0
    words: float = 1.0


WHOLE = Shares()


@dataclass(frozen=True)
class Batch:
    """A batch of B images with all their captions, or a part of one.

    features: (B, L, channels), or pixels (B, 3, H, W) if the encoder is trained too. captions: (B, R, T), padded with
    PAD. images: the B names. whole: the size of the batch that this one is a part of, if it is a part.
    """

    features: Tensor
    captions: Tensor
    images: tuple[str, ...]
    whole: BatchSize | None = None

    def size(self) -> BatchSize:
        """The size of this batch, or of this part of one."""
        words = self.captions != PAD
        return BatchSize(len(self.images), int(words.any(2).sum()), int(words.sum()))

    def whole_size(self) -> BatchSize:
        """The size of the batch that this one is a part of; its own size if it is whole."""
        return self.whole or self.size()

    def shares(self) -> Shares:
        """The shares of this batch in the batch that it is a part of."""
        if self.whole is None:
            return WHOLE
        return Shares(*(part / whole for part, whole in zip(self.size(), self.whole, strict=True)))

    def split(self, parts: int) -> list["Batch"]:
        """Splits the images as equally as possible; gives fewer parts if there are fewer images."""
        count, whole = len(self.images), self.whole_size()
        ends = [count * i // parts for i in range(parts + 1)]
        slices = [slice(start, end) for start, end in pairwise(ends) if start < end]
        return [Batch(self.features[s], self.captions[s], self.images[s], whole) for s in slices]


class BatchLoader:
    """Shuffled batches of examples. The order depends on seed and epoch alone, so an epoch can be resumed anywhere."""

    def __init__(self, examples: Sequence[Example], source: FeatureSource, batch_size: int, seed: int) -> None:
        self.examples, self.source, self.batch_size, self.seed = examples, source, batch_size, seed

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.batch_size)

    def epoch(self, number: int, first: int = 0, prefetch: bool = False) -> Iterator[Batch]:
        """The batches of an epoch, from batch ``first`` on. With ``prefetch`` a thread reads the next batch while the
        last one is used.

        Prefetching is meant for a GPU. On a CPU a second thread that uses torch makes OpenMP send its workers to sleep
        after every loop, which costs more than the few milliseconds of reading.
        """
        order = np.random.default_rng((self.seed, number)).permutation(len(self.examples))
        starts = range(first * self.batch_size, len(order), self.batch_size)
        batches = ([self.examples[i] for i in order[start : start + self.batch_size]] for start in starts)
        return self._prefetch(batches) if prefetch else map(self._read, batches)

    def _prefetch(self, batches: Iterator[list[Example]]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as reader:
            following = None
            for examples in batches:
                current, following = following, reader.submit(self._read, examples)
                if current is not None:
                    yield current.result()
            if following is not None:
                yield following.result()

    def _read(self, examples: Sequence[Example]) -> Batch:
        images = tuple(example.image for example in examples)
        return Batch(self.source.read(images), pad_captions([example.captions for example in examples]), images)


def pad_captions(captions: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """The captions of B images as one tensor (B, R, T): R is the most captions of an image, T the longest caption."""
    ranks = max(len(image_captions) for image_captions in captions)
    length = max(len(caption) for image_captions in captions for caption in image_captions)
    padded = torch.full((len(captions), ranks, length), PAD)
    for i, image_captions in enumerate(captions):
        for j, caption in enumerate(image_captions):
            padded[i, j, : len(caption)] = torch.tensor(caption)
    return padded
