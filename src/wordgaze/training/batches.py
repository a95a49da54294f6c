"""Training data: pictures with all their captions, in batches."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wordgaze.text.vocabulary import PAD
from wordgaze.vision.feature_store import FeatureSource


@dataclass(frozen=True)
class Example:
    """A picture and its captions as indices, each ending with END."""

    image: str
    captions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Batch:
    """features (B, L, channels), or pixels where the encoder is trained too; captions (B, R, T), padded with PAD;
    the names of the B images."""

    features: Tensor
    captions: Tensor
    images: tuple[str, ...]


class BatchLoader:
    """Shuffled batches of examples; the order depends on seed and epoch alone, so any epoch can be taken up midway."""

    def __init__(self, examples: Sequence[Example], store: FeatureSource, batch_size: int, seed: int) -> None:
        self.examples, self.store, self.batch_size, self.seed = examples, store, batch_size, seed

    def __len__(self) -> int:
        return math.ceil(len(self.examples) / self.batch_size)

    def epoch(self, number: int, first: int = 0, ahead: bool = False) -> Iterator[Batch]:
        """The batches of an epoch from the ``first`` on; with ``ahead`` the next one is read while the last is computed
        with. That is for a GPU: on a CPU a second thread that uses torch makes OpenMP send its workers to sleep behind
        every loop, which takes longer than the few milliseconds of reading.
        """
        order = np.random.default_rng((self.seed, number)).permutation(len(self.examples))
        starts = range(first * self.batch_size, len(order), self.batch_size)
        chosen = ([self.examples[i] for i in order[start : start + self.batch_size]] for start in starts)
        return self._ahead(chosen) if ahead else map(self._batch, chosen)

    def _ahead(self, chosen: Iterator[list[Example]]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as reader:
            following = None
            for examples in chosen:
                last, following = following, reader.submit(self._batch, examples)
                if last is not None:
                    yield last.result()
            if following is not None:
                yield following.result()

    def _batch(self, examples: Sequence[Example]) -> Batch:
        images = tuple(e.image for e in examples)
        return Batch(self.store.read(images), pad_captions([e.captions for e in examples]), images)


def pad_captions(captions: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Captions of B pictures as one tensor (B, R, T): R the most captions of a picture, T the longest caption."""
    ranks = max(len(of_one) for of_one in captions)
    length = max(len(words) for of_one in captions for words in of_one)
    padded = torch.full((len(captions), ranks, length), PAD)
    for i, of_one in enumerate(captions):
        for j, words in enumerate(of_one):
            padded[i, j, : len(words)] = torch.tensor(words)
    return padded
