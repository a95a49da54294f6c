"""Training data: images with all their captions, in batches."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from wordgaze.models.kernels.packing import BatchPart
from wordgaze.text.vocabulary import PAD
from wordgaze.vision.feature_store import FeatureSource, FeatureStore
from wordgaze.vision.feature_windows import FeatureWindows, shards_per_window


@dataclass(frozen=True)
class Example:
    """An image and its captions as indices, each ending with END."""

    image: str
    captions: tuple[tuple[int, ...], ...]


class ExampleTable(Sequence[Example]):
    """Examples in arrays, 4 bytes a token instead of 8 and more: the captions of one are made when it is read."""

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self.images: list[str] = []
        self._tokens, self._caption_ends, self._ends = array("i"), array("q"), array("q")
        for example in examples:
            self.images.append(example.image)
            for caption in example.captions:
                self._tokens.extend(caption)
                self._caption_ends.append(len(self._tokens))
            self._ends.append(len(self._caption_ends))

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        captions = range(self._ends[number - 1] if number else 0, self._ends[number])
        return Example(self.images[number], tuple(map(self._caption, captions)))

    def __len__(self) -> int:
        return len(self.images)

    def _caption(self, number: int) -> tuple[int, ...]:
        start = self._caption_ends[number - 1] if number else 0
        return tuple(self._tokens[start : self._caption_ends[number]])


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
UNCOUNTED = Shares(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Batch:
    """A batch of B images with all their captions, or a part of one.

    features: (B, L, channels), or pixels (B, 3, H, W) if the encoder is trained too. captions: (B, R, T), padded with
    PAD. images: the B names. part: the place in the batch that this one is a part of, if it is a part. is_counted:
    False for an image that adds nothing, which a rank computes where a batch has fewer images than there are ranks, so
    that all ranks draw the same random numbers.
    """

    features: Tensor
    captions: Tensor
    images: tuple[str, ...]
    part: BatchPart | None = None
    is_counted: bool = True

    def size(self) -> BatchSize:
        """The size of this batch, or of this part of one."""
        return _size(self.captions)

    def whole_size(self) -> BatchSize:
        """The size of the batch that this one is a part of; its own size if it is whole."""
        return _size(self.part.captions) if self.part else self.size()

    def shares(self) -> Shares:
        """The shares of this batch in the batch that it is a part of."""
        if not self.is_counted:
            return UNCOUNTED
        if self.part is None:
            return WHOLE
        return Shares(*(own / whole for own, whole in zip(self.size(), self.whole_size(), strict=True)))

    def split(self, parts: int) -> list["Batch"]:
        """Splits the images as equally as possible; gives fewer parts if there are fewer images."""
        place = self.part or BatchPart(0, self.captions)
        bounds = (part_bounds(len(self.images), i, parts) for i in range(parts))
        return [
            Batch(
                self.features[first:end], self.captions[first:end], self.images[first:end],
                place._replace(first=place.first + first), self.is_counted,
            )
            for first, end in bounds
            if first < end
        ]  # fmt: skip


def part_bounds(num_images: int, rank: int, world_size: int) -> tuple[int, int]:
    """The first image of a rank's part of a batch, and the one after its last. Later parts may be empty."""
    first, end = (math.ceil(num_images * number / world_size) for number in (rank, rank + 1))
    return first, end


def _size(captions: Tensor) -> BatchSize:
    words = captions != PAD
    return BatchSize(len(captions), int(words.any(2).sum()), int(words.sum()))


class BatchLoader:
    """Shuffled batches of examples. The order depends on seed and epoch alone, so an epoch can be resumed anywhere.

    Of several ranks each gets its part of every batch, by the index of an image in the batch, and reads the features of
    that part alone: all parts together are the batch of one rank.

    Features that are larger than the memory are shuffled in windows: see :mod:`wordgaze.vision.feature_windows`.
    """

    def __init__(self, examples: Iterable[Example], source: FeatureSource, batch_size: int, seed: int) -> None:
        self.examples, self.source, self.batch_size, self.seed = ExampleTable(examples), source, batch_size, seed
        self.rank, self.world_size = 0, 1
        self.windows: FeatureWindows | None = None
        self.shuffle_in(shards_per_window(source, self.examples.images))

    def divide(self, rank: int, world_size: int) -> None:
        """Makes the batches from now on the parts of this rank."""
        self.rank, self.world_size = rank, world_size

    def shuffle_in(self, window: int) -> None:
        """Makes the order of an epoch one in windows of so many shards of stored features; 0 shuffles all images. It
        has to be the same in all processes that read parts of one batch."""
        store = self.windows.store if self.windows else self.source
        self.window, self.windows, self.source = window, None, store
        if window and isinstance(store, FeatureStore):
            self.source = self.windows = FeatureWindows(store, self.examples.images, window)

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.batch_size)

    def epoch(self, number: int, first: int = 0, prefetch: bool = False) -> Iterator[Batch]:
        """The batches of an epoch, from batch ``first`` on. With ``prefetch`` a thread reads the next batch while the
        last one is used.

        Prefetching is meant for a GPU. On a CPU a second thread that uses torch makes OpenMP send its workers to sleep
        after every loop, which costs more than the few milliseconds of reading.
        """
        random = np.random.default_rng((self.seed, number))
        order = self.windows.shuffle(random) if self.windows else random.permutation(len(self.examples))
        starts = range(first * self.batch_size, len(order), self.batch_size)
        batches = ([self.examples[i] for i in order[start : start + self.batch_size]] for start in starts)
        read = self._prefetch(batches) if prefetch else map(self._read, batches)
        return self.windows.released(read) if self.windows else read

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
        images, captions = tuple(e.image for e in examples), pad_captions([e.captions for e in examples])
        if self.world_size == 1:
            return Batch(self.source.read(images), captions, images)
        first, end = part_bounds(len(images), self.rank, self.world_size)
        is_counted = first < end
        first, end = (first, end) if is_counted else (0, 1)
        own, part = images[first:end], BatchPart(first, captions)
        return Batch(self.source.read(own), captions[first:end], own, part, is_counted)


def pad_captions(captions: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """The captions of B images as one tensor (B, R, T): R is the most captions of an image, T the longest caption."""
    ranks = max(len(image_captions) for image_captions in captions)
    length = max(len(caption) for image_captions in captions for caption in image_captions)
    padded = torch.full((len(captions), ranks, length), PAD)
    for i, image_captions in enumerate(captions):
        for j, caption in enumerate(image_captions):
            padded[i, j, : len(caption)] = torch.tensor(caption)
    return padded
