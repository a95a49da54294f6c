"""Nearest neighbours by cosine similarity."""

import torch
from torch import Tensor

_BATCH = 64  # queries at a time: with 100,000 keys 26 MB


def nearest(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    """The indices (N, k) of the ``k`` keys most similar to each query, the most similar first; of equals the first.

    ``queries`` (N, D) and ``keys`` (M, D) have rows of length 1; ``k`` is at most M.
    """
    search = NearestSearch(queries, k)
    search.add(keys)
    return search.indices


class NearestSearch:
    """As :func:`nearest`, among keys that come in parts; ``indices`` (N, k) has fewer columns for fewer keys."""

    def __init__(self, queries: Tensor, k: int) -> None:
        self._queries, self._k, self.num_keys = queries, k, 0
        self._similarities = queries.new_empty(len(queries), 0)
        self.indices = torch.empty(len(queries), 0, dtype=torch.long)

    def add(self, keys: Tensor) -> None:
        """Searches among more keys (P, D) too."""
        width = min(self._k, self.num_keys + len(keys))
        similarities = self._queries.new_empty(len(self._queries), width)  # written in place: small tensors that stay
        indices = torch.empty(len(self._queries), width, dtype=torch.long)  # between large ones waste memory
        for start in range(0, len(self._queries), _BATCH):
            part = slice(start, start + _BATCH)
            best = torch.sort(self._queries[part] @ keys.T, dim=1, descending=True, stable=True)
            values = torch.cat([self._similarities[part], best.values[:, : self._k]], dim=1)
            numbers = torch.cat([self.indices[part], best.indices[:, : self._k] + self.num_keys], dim=1)
            order = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :width]
            torch.gather(values, 1, order, out=similarities[part])
            torch.gather(numbers, 1, order, out=indices[part])
        self._similarities, self.indices = similarities, indices
        self.num_keys += len(keys)
