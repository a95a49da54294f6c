"""Attention over the L cells of an image's feature grid.

An attention combines parts that are chosen independently (section ``model`` of ``params.yaml``):

- the *score* of a cell: additive (Bahdanau et al. 2015), dot, general or concat (Luong et al. 2015, section 3.1);
- the *span*: all cells, or a window of them in row-major order, whose center moves on with each word (local-m) or is
  predicted from the query (local-p; Luong et al. 2015, section 3.2);
- *soft* attention, the expected features, or *hard* attention, the features of one cell (Xu et al. 2015, section 4);
- a *sentinel*, a vector of the decoder's memory that competes with the cells (Lu et al. 2017, section 2.4).

The keys of an image are computed once and shared by its queries: rows ``b·R … b·R+R-1`` of a query belong to image b.
If the images have different numbers of queries, a ``RowIndex`` assigns the rows to the images.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.models.config import DecoderConfig
from wordgaze.models.kernels.additive_energy import additive_energy
from wordgaze.models.kernels.linear import Linear
from wordgaze.models.kernels.step_linear import StepLinear


class Memory(NamedTuple):
    """What is computed once per image: ``features`` (B, L, D), ``keys`` (B, L, A), ``mean_gates`` (B, G), the
    contribution of the mean feature to the gates of the first layer, and ``is_soft`` (B,), the images whose hard
    attention is soft in this training step."""

    features: Tensor
    keys: Tensor
    mean_gates: Tensor
    is_soft: Tensor


class RowIndex(NamedTuple):
    """Row n is the ``slot[n] % width``-th query of image ``slot[n] // width``; slot: (N,)."""

    slot: Tensor
    width: int

    @property
    def image(self) -> Tensor:
        """The image of each row (N,)."""
        return torch.div(self.slot, self.width, rounding_mode="floor")

    def scatter(self, values: Tensor, batch_size: int) -> Tensor:
        """values (N, …) → (B · width, …), zeros in the slots without a row."""
        return values.new_zeros(batch_size * self.width, *values.shape[1:]).index_copy(0, self.slot, values)


class AttentionOutput(NamedTuple):
    """``context`` (N, D); ``weights`` (N, L), with which the context is computed; ``distribution`` (N, L), the
    probabilities of the cells; ``sample_log_prob`` (N,), the log-probability of the cell that hard attention has drawn
    in training, 0 where none was drawn.

    With soft attention the weights are the distribution; with hard attention they are 1 for one cell. A distribution
    sums to 1, or with a sentinel to 1 minus the sentinel's share; that of soft local-p attention to less (see
    ``Attention``)."""

    context: Tensor
    weights: Tensor
    distribution: Tensor
    sample_log_prob: Tensor


class Additive(nn.Module):
    """v · tanh(W_k cell + b + W_q query): Bahdanau et al. 2015, appendix A.1.2; Xu et al. 2015, section 4.2."""

    key_bias = True

    def __init__(self, feature_size: int, query_size: int, attention_size: int) -> None:
        super().__init__()
        self.key_projection = Linear(feature_size, attention_size, bias=self.key_bias)
        self.query_projection = StepLinear(query_size, attention_size, bias=False)
        self.energy = nn.Linear(attention_size, 1, bias=False)

    def project_query(self, query: Tensor) -> Tensor:
        """query (N, H) → (N, A)."""
        return self.query_projection(query)  # type: ignore[no-any-return]

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """keys (B, L, A), projected query (B, R, A) → energies (B, R, L)."""
        return additive_energy(keys, query, self.energy.weight[0])


class Concat(Additive):
    """v · tanh(W [query; cell]): Luong et al. 2015, equation 8, with W as the two blocks that it consists of."""

    key_bias = False


class General(nn.Module):
    """query · W cell: Luong et al. 2015, equation 8."""

    def __init__(self, feature_size: int, query_size: int, _: int) -> None:
        super().__init__()
        self.key_projection: nn.Module = Linear(feature_size, query_size, bias=False)

    def project_query(self, query: Tensor) -> Tensor:
        """query (N, H), unchanged."""
        return query

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """keys (B, L, H), query (B, R, H) → energies (B, R, L)."""
        return torch.bmm(query, keys.transpose(1, 2))


class Dot(General):
    """query · cell: Luong et al. 2015, equation 8. Features and queries have the same width."""

    def __init__(self, feature_size: int, query_size: int, _: int) -> None:
        super().__init__(feature_size, query_size, _)
        self.key_projection = nn.Identity()


SCORE_FUNCTIONS: dict[str, type[Additive] | type[General]] = {
    "additive": Additive, "concat": Concat, "general": General, "dot": Dot
}  # fmt: skip


class Attention(nn.Module):
    """The attention that a DecoderConfig describes.

    Soft local-p attention multiplies the softmax with a Gaussian around the center (Luong et al. 2015, equation 10),
    so that its weights sum to less than 1. Hard attention draws from the weights, and so they are normalised again.
    """

    def __init__(self, config: DecoderConfig, feature_size: int) -> None:
        super().__init__()
        hidden_size, attention_size = config.hidden_size, config.attention_size
        self.config = config
        self.score = SCORE_FUNCTIONS[config.attention](feature_size, hidden_size, attention_size)
        if config.sentinel:  # its key has weights of its own, W_s of Lu et al. 2017, equation 12
            self.sentinel_key_projection = SCORE_FUNCTIONS[config.attention](
                hidden_size, hidden_size, attention_size
            ).key_projection
        if config.span == "local_p":
            self.center_predictor = nn.Sequential(
                nn.Linear(hidden_size, attention_size, bias=False), nn.Tanh(),
                nn.Linear(attention_size, 1, bias=False), nn.Sigmoid(),
            )  # fmt: skip

    def keys(self, features: Tensor) -> Tensor:
        """features (B, L, D) → keys (B, L, A), which do not depend on the words."""
        return self.score.key_projection(features)  # type: ignore[no-any-return]

    def forward(
        self, query: Tensor, memory: Memory, step: Tensor, rows: RowIndex | None = None, sentinel: Tensor | None = None
    ) -> AttentionOutput:
        """query (B·R, H), or (N, H) with ``rows``; step (N,), the number of words before this one; sentinel (N, D)."""
        batch_size, num_cells, _ = memory.features.shape

        def group(values: Tensor) -> Tensor:  # (B·R, …) or (N, …) -> (B, R, …)
            values = rows.scatter(values, batch_size) if rows else values
            return values.reshape(batch_size, -1, *values.shape[1:])

        def ungroup(values: Tensor) -> Tensor:  # (B, R, …) -> (B·R, …) or (N, …)
            return values.flatten(0, 1)[rows.slot] if rows else values.flatten(0, 1)

        projected = self.score.project_query(query)
        energy = self.score(memory.keys, group(projected)).float()  # (B, R, L)
        if self.config.span != "global":
            distance = group(self._distance(query, step, num_cells))  # (B, R, L)
            energy = energy.masked_fill(distance > self.config.window, -torch.inf)
        if sentinel is not None:
            key = self.sentinel_key_projection(sentinel)
            sentinel_energy = self.score(key.unsqueeze(1), projected.unsqueeze(1)).flatten(0, 1)  # (N, 1)
            energies = torch.cat([energy, group(sentinel_energy.float())], dim=2)  # (B, R, L + 1)
            distribution = torch.softmax(energies, dim=2)[..., :-1]
        else:
            distribution = torch.softmax(energy, dim=2)
        if self.config.span == "local_p":  # Luong et al. 2015, equation 10; σ is half the window
            distribution = distribution * torch.exp(-2 * (distance / self.config.window) ** 2)
            if self.config.hard_attention:
                distribution = distribution / distribution.sum(2, keepdim=True)
        weights, sample_log_prob = self._select(distribution, memory.is_soft)
        context = torch.bmm(weights.to(memory.features.dtype), memory.features)  # (B, R, L) x (B, L, D) -> (B, R, D)
        context, distribution, sample_log_prob = ungroup(context), ungroup(distribution), ungroup(sample_log_prob)
        weights = ungroup(weights) if self.config.hard_attention else distribution
        if sentinel is not None:  # Lu et al. 2017, equation 11
            context = context + (1 - distribution.sum(1, keepdim=True)).to(sentinel.dtype) * sentinel
        return AttentionOutput(context, weights, distribution, sample_log_prob)

    def _distance(self, query: Tensor, step: Tensor, num_cells: int) -> Tensor:
        """The distance of each cell from the center of the window, in cells: (N, L)."""
        if self.config.span == "local_p":  # Luong et al. 2015, equation 9
            center: Tensor = num_cells * self.center_predictor(query).float()
        else:
            center = (self.config.window_stride * step.float()).clamp(max=num_cells - 1).unsqueeze(1)
        return (torch.arange(num_cells, device=query.device) - center).abs()

    def _select(self, distribution: Tensor, is_soft: Tensor) -> tuple[Tensor, Tensor]:
        """distribution (B, R, L) → the weights of the features (B, R, L), and the log-probability of the draw (B, R).

        Soft attention takes the distribution as it is. Hard attention takes the most probable cell, and in training
        draws one, except for the images that are ``is_soft``.
        """
        no_draw = distribution.new_zeros(distribution.shape[:2])
        if not self.config.hard_attention:
            return distribution, no_draw
        if not self.training:
            return _one_hot(distribution.argmax(2), distribution), no_draw
        cell = torch.multinomial(distribution.detach().flatten(0, 1), 1).view(distribution.shape[:2])
        log_prob = distribution.gather(2, cell.unsqueeze(2)).squeeze(2).clamp(min=1e-20).log()
        return (
            torch.where(is_soft[:, None, None], distribution, _one_hot(cell, distribution)),
            torch.where(is_soft[:, None], no_draw, log_prob),
        )


def _one_hot(cell: Tensor, like: Tensor) -> Tensor:
    """cell (B, R) → (B, R, L), of the shape and type of ``like``."""
    one_hot: Tensor = torch.zeros_like(like).scatter(2, cell.unsqueeze(2), 1.0)
    return one_hot
