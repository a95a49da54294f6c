"""Reads features that are larger than the memory, in an order that reads whole files one after the other.

The shards are shuffled and divided into windows of some shards each, and the images are shuffled within their window.
Only the shards of a window, of the one before and of the one after are in memory; a thread reads those that come next.
"""

import logging
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordgaze.core.memory import machine_memory
from wordgaze.core.parallel import map_ahead
from wordgaze.vision.feature_store import FeatureSource, FeatureStore
from wordgaze.vision.shard_objects import cache_bytes

_SHARE = 0.5  # of the machine's memory for features: more than that is read in windows
_WINDOWS = 3  # in memory at the same time, at most

_log = logging.getLogger(__name__)

T = TypeVar("T")


class FeatureWindows:
    """The features of images, in an order for each epoch in which :meth:`read` has to be called.

    The order depends on the random numbers and on ``window``, the number of shards in a window, alone. It may be left
    out from the beginning, but not be gone back in.
    """

    def __init__(self, store: FeatureStore, images: Sequence[str], window: int) -> None:
        self.store, self.window = store, window
        self._shards = store.find(images)[0]
        self._window_of: dict[int, int] = {}
        self._order: list[int] = []  # of the shards
        self._loaded: dict[int, dict[str, Tensor]] = {}
        self._following: Generator[tuple[int, dict[str, Tensor]], None, None] | None = None

    def shuffle(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Begins an epoch; returns the order of the images."""
        self.close()
        shards = random.permutation(np.unique(self._shards))
        self._order = shards.tolist()
        self._window_of = {shard: number // self.window for number, shard in enumerate(self._order)}
        windows = np.array([self._window_of[shard] for shard in self._shards.tolist()])
        return np.lexsort([random.permutation(len(windows)), windows])

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of images that come next, in bf16; raises DataError as the store does."""
        shards, rows = self.store.find(images)
        wanted = {self._window_of[shard] for shard in shards.tolist()}
        self._load(min(wanted), max(wanted))
        return self.store.gather(images, shards, rows, self._loaded)

    def released(self, batches: Iterator[T]) -> Iterator[T]:
        """Yields the batches of an epoch, and frees the memory after the last one, or when there is no need for it."""
        try:
            yield from batches
        finally:
            self.close()

    def close(self) -> None:
        """Frees the memory."""
        self._loaded = {}
        following, self._following = self._following, None
        if following is not None:
            following.close()

    def _load(self, first: int, last: int) -> None:
        """Drops the shards before window ``first``, and loads those up to window ``last``."""
        for shard in [shard for shard in self._loaded if self._window_of[shard] < first]:
            del self._loaded[shard]
        if self._following is None:
            shards = self._order[first * self.window :]
            self._following = map_ahead(
                self._loaded_shard, shards, self.store.readers, self.window + 1
            )  # one of them is asked for
        end = min((last + 1) * self.window, len(self._order))
        while self._order[end - 1] not in self._loaded:
            shard, tensors = next(self._following)
            self._loaded[shard] = tensors

    def _loaded_shard(self, shard: int) -> tuple[int, dict[str, Tensor]]:
        """A shard in memory instead of a mapped file. NumPy copies it: a thread in which PyTorch computes would make
        the threads of the training step wait."""
        tensors = self.store.open_shard(shard)
        copies = {name: torch.from_numpy(tensor.view(torch.uint8).numpy().copy()) for name, tensor in tensors.items()}
        return shard, {name: copies[name].view(tensor.dtype) for name, tensor in tensors.items()}


def shards_per_window(source: FeatureSource, images: Sequence[str]) -> int:
    """The number of shards in a window, for features of images that are stored and take more than half of the machine's
    memory, or more than the cache of an address; 0 for others."""
    if not isinstance(source, FeatureStore):
        return 0
    count, limit, name = len(set(images)), int(machine_memory() * _SHARE), "half of the memory"
    if source.objects and cache_bytes() < limit:
        limit, name = cache_bytes(), "WORDGAZE_FEATURE_CACHE_GB"
    size = source.bytes_per_picture * count
    if size <= limit:
        return 0
    shard_bytes = source.bytes_per_picture * source.shape[0] / source.num_shards
    window = max(1, int(limit / _WINDOWS / shard_bytes))
    _log.info(
        "the features of %s training images take %.1f GB, more than %s; they are shuffled in windows of %s of %s files,"
        " which take %.1f GB of memory at most", f"{count:,}", size / 1e9, name, window, source.num_shards,
        _WINDOWS * window * shard_bytes / 1e9,
    )  # fmt: skip
    return window
