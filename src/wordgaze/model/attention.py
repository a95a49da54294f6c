"""Soft additive attention over the cells of a grid (Bahdanau et al. 2015; Xu et al. 2015, section 4.2).

A picture's keys are computed once and shared by all that ask about it: rows ``b·R … b·R+R-1`` of a query ask
picture b. Where pictures are asked by unequal numbers of rows, ``Rows`` tells whose row is whose.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.model.energy import additive_energy


class Rows(NamedTuple):
    """Row n of a query is the ``place[n] % width``-th to ask about picture ``place[n] // width``; place: (N,)."""

    place: Tensor
    width: int


class AdditiveAttention(nn.Module):
    """weights = softmax_L(v · tanh(keys + W query)); context = Σ_L weights · features (Xu et al., eq. 4-6, 13)."""

    def __init__(self, feature_size: int, query_size: int, attention_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(feature_size, attention_size)
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.energy = nn.Linear(attention_size, 1, bias=False)

    def keys(self, features: Tensor) -> Tensor:
        """features (B, L, D) → keys (B, L, A): the part that does not depend on the words."""
        return self.key(features)  # type: ignore[no-any-return]

    def forward(self, query: Tensor, keys: Tensor, features: Tensor, rows: Rows | None = None) -> tuple[Tensor, Tensor]:
        """query (B·R, H), keys (B, L, A), features (B, L, D) → context (B·R, D), weights (B·R, L).

        With ``rows``, query (N, H) → context (N, D), weights (N, L).
        """
        batch, _, size = keys.shape
        asked = self.query(query)
        if rows is not None:
            asked = asked.new_zeros(batch * rows.width, size).index_copy(0, rows.place, asked)
        energy = additive_energy(keys, asked.view(batch, -1, size), self.energy.weight[0])  # (B, R, L)
        weights = torch.softmax(energy.float(), dim=-1).to(features.dtype)
        context = torch.bmm(weights, features).flatten(0, 1)  # (B, R, L) x (B, L, D) -> (B, R, D)
        weights = weights.flatten(0, 1)
        return (context, weights) if rows is None else (context[rows.place], weights[rows.place])
