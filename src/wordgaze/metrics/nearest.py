"""Nearest neighbours by cosine similarity."""

import torch
from torch import Tensor

_BATCH = 64  # queries at a time: with 100,000 keys 26 MB


def nearest(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    """The indices (N, k) of the ``k`` keys most similar to each query, the most similar first; of equals the first.

    ``queries`` (N, D) and ``keys`` (M, D) have rows of length 1; ``k`` is at most M.
    """
    similarities = (part @ keys.T for part in torch.split(queries, _BATCH))
    return torch.cat([torch.sort(rows, dim=1, descending=True, stable=True).indices[:, :k] for rows in similarities])
