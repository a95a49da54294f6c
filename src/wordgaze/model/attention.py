"""Soft additive attention over the cells of a grid (Bahdanau et al. 2015; Xu et al. 2015, section 4.2).

A picture's keys are computed once and shared by its R captions: rows ``b·R … b·R+R-1`` of a query ask picture b.
"""

import torch
from torch import Tensor, nn


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

    def forward(self, query: Tensor, keys: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """query (B·R, H), keys (B, L, A), features (B, L, D) → context (B·R, D), weights (B·R, L)."""
        batch, _, size = keys.shape
        asked = self.query(query).view(batch, -1, 1, size)  # (B, R, 1, A)
        energy = self.energy(torch.tanh(keys.unsqueeze(1) + asked)).squeeze(-1)  # (B, R, L)
        weights = torch.softmax(energy.float(), dim=-1).to(features.dtype)
        context = torch.bmm(weights, features)  # (B, R, L) x (B, L, D) -> (B, R, D)
        return context.flatten(0, 1), weights.flatten(0, 1)
