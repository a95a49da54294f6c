"""Where the next word looks: every kind of attention over the cells of a picture's grid.

A kind is put together from parts that mix freely (``model`` in ``params.yaml``):

- the *score* of a cell: additive (Bahdanau et al. 2015), dot, general or concat (Luong et al. 2015, section 3.1);
- the *span*: all cells, or a window of them in reading order, which moves on with the words (local-m) or which the
  state places (local-p; Luong et al. 2015, section 3.2);
- *soft*, the expected features, or *hard*, the features of one cell (Xu et al. 2015, section 4);
- a *sentinel*, what the decoder knows already, as one more thing to look at (Lu et al. 2017, section 2.4).

A picture's keys are computed once and shared by all that ask about it: rows ``b·R … b·R+R-1`` of a query ask
picture b. Where pictures are asked by unequal numbers of rows, ``RowIndex`` tells whose row is whose.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.models.config import DecoderConfig
from wordgaze.models.kernels.additive_energy import additive_energy
from wordgaze.models.kernels.step_linear import StepLinear


class Memory(NamedTuple):
    """What a decoder knows of its pictures, computed once: features (B, L, D), keys (B, L, A), what their mean is
    worth to the gates of the first layer (B, G), and whose hard attention is soft for this once (B,)."""

    features: Tensor
    keys: Tensor
    gates: Tensor
    soft: Tensor


class RowIndex(NamedTuple):
    """Row n of a query is the ``place[n] % width``-th to ask about picture ``place[n] // width``; place: (N,)."""

    place: Tensor
    width: int

    def spread(self, values: Tensor, pictures: int) -> Tensor:
        """values (N, …) → (B·width, …), zeros where nobody asks."""
        return values.new_zeros(pictures * self.width, *values.shape[1:]).index_copy(0, self.place, values)


class AttentionOutput(NamedTuple):
    """context (N, D); weights (N, L), which sum to one, or with a sentinel to one less its share; and the logarithm
    of the probability of the cell that hard attention drew (N,), 0 where it drew none."""

    context: Tensor
    weights: Tensor
    drawn: Tensor


class Additive(nn.Module):
    """v · tanh(W_k cell + b + W_q query): Bahdanau et al. 2015, appendix A.1.2; Xu et al. 2015, section 4.2."""

    biased = True

    def __init__(self, feature_size: int, query_size: int, attention_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(feature_size, attention_size, bias=self.biased)
        self.query = StepLinear(query_size, attention_size, bias=False)
        self.energy = nn.Linear(attention_size, 1, bias=False)

    def ask(self, query: Tensor) -> Tensor:
        """query (N, H) → what is compared with the keys, (N, A)."""
        return self.query(query)  # type: ignore[no-any-return]

    def forward(self, keys: Tensor, asked: Tensor) -> Tensor:
        """keys (B, L, A), asked (B, R, A) → energies (B, R, L)."""
        return additive_energy(keys, asked, self.energy.weight[0])


class Concat(Additive):
    """v · tanh(W [query; cell]): Luong et al. 2015, equation 8. W is kept in the two parts that it multiplies."""

    biased = False


class General(nn.Module):
    """query · W cell: Luong et al. 2015, equation 8."""

    def __init__(self, feature_size: int, query_size: int, _: int) -> None:
        super().__init__()
        self.key: nn.Module = nn.Linear(feature_size, query_size, bias=False)

    def ask(self, query: Tensor) -> Tensor:
        """The query as it is."""
        return query

    def forward(self, keys: Tensor, asked: Tensor) -> Tensor:
        """keys (B, L, H), asked (B, R, H) → energies (B, R, L)."""
        return torch.bmm(asked, keys.transpose(1, 2))


class Dot(General):
    """query · cell: Luong et al. 2015, equation 8. Features and queries have one width."""

    def __init__(self, feature_size: int, query_size: int, _: int) -> None:
        super().__init__(feature_size, query_size, _)
        self.key = nn.Identity()


SCORES: dict[str, type[Additive] | type[General]] = {
    "additive": Additive, "concat": Concat, "general": General, "dot": Dot
}  # fmt: skip


class Attention(nn.Module):
    """Looks at the cells of pictures, as the parameters of the model say."""

    def __init__(self, sizes: DecoderConfig, feature_size: int) -> None:
        super().__init__()
        hidden = sizes.hidden_size
        self.sizes = sizes
        self.score = SCORES[sizes.attention](feature_size, hidden, sizes.attention_size)
        if sizes.sentinel:  # Its key has weights of its own, W_s of Lu et al. 2017, equation 12.
            self.sentinel_key = SCORES[sizes.attention](hidden, hidden, sizes.attention_size).key
        if sizes.span == "local_p":
            self.place = nn.Sequential(
                nn.Linear(hidden, sizes.attention_size, bias=False), nn.Tanh(),
                nn.Linear(sizes.attention_size, 1, bias=False), nn.Sigmoid(),
            )  # fmt: skip

    def keys(self, features: Tensor) -> Tensor:
        """features (B, L, D) → keys (B, L, A): the part that does not depend on the words."""
        return self.score.key(features)  # type: ignore[no-any-return]

    def forward(
        self, query: Tensor, memory: Memory, step: Tensor, rows: RowIndex | None = None, sentinel: Tensor | None = None
    ) -> AttentionOutput:
        """query (B·R, H), or (N, H) with ``rows``; step (N,), the number of words before this one; sentinel (N, D)."""
        pictures, cells, _ = memory.features.shape

        def grouped(values: Tensor) -> Tensor:  # (N, …) -> (B, R, …)
            values = rows.spread(values, pictures) if rows else values
            return values.reshape(pictures, -1, *values.shape[1:])

        asked = self.score.ask(query)
        energy = self.score(memory.keys, grouped(asked)).float()  # (B, R, L)
        if self.sizes.span != "global":
            distance = self._distance(query, step, cells)
            energy = energy.masked_fill(grouped(distance) > self.sizes.window, -torch.inf)
        if sentinel is not None:
            own = self.score(self.sentinel_key(sentinel).unsqueeze(1), asked.unsqueeze(1)).flatten(0, 1)  # (N, 1)
            weights = torch.softmax(torch.cat([energy, grouped(own.float())], dim=2), dim=2)[..., :-1]
        else:
            weights = torch.softmax(energy, dim=2)
        if self.sizes.span == "local_p":  # Luong et al. 2015, equation 10; σ is half the window
            weights = weights * torch.exp(-2 * (grouped(distance) / self.sizes.window) ** 2)
        chosen, drawn = self._choose(weights, memory.soft)
        context = torch.bmm(chosen.to(memory.features.dtype), memory.features)  # (B, R, L) x (B, L, D) -> (B, R, D)
        looked = [part.flatten(0, 1) for part in (context, weights, drawn)]
        if rows is not None:
            looked = [part[rows.place] for part in looked]
        if sentinel is not None:  # Lu et al. 2017, equation 11
            looked[0] = looked[0] + (1 - looked[1].sum(1, keepdim=True)).to(sentinel.dtype) * sentinel
        return AttentionOutput(*looked)

    def _distance(self, query: Tensor, step: Tensor, cells: int) -> Tensor:
        """How far each cell is from the middle of the window, in cells: (N, L)."""
        if self.sizes.span == "local_p":  # Luong et al. 2015, equation 9
            middle: Tensor = cells * self.place(query).float()
        else:
            middle = (self.sizes.window_stride * step.float()).clamp(max=cells - 1).unsqueeze(1)
        return (torch.arange(cells, device=query.device) - middle).abs()

    def _choose(self, weights: Tensor, soft: Tensor) -> tuple[Tensor, Tensor]:
        """What the features are weighted with (B, R, L), and the logarithm of the probability of the draw (B, R).

        Hard attention draws one cell in training, where pictures that are ``soft`` keep their weights; else it takes
        the likeliest one.
        """
        nothing = weights.new_zeros(weights.shape[:2])
        if not self.sizes.hard_attention:
            return weights, nothing
        if not self.training:
            return _one_hot(weights.argmax(2), weights), nothing
        cell = torch.multinomial(weights.detach().flatten(0, 1), 1).view(weights.shape[:2])
        log_prob = weights.gather(2, cell.unsqueeze(2)).squeeze(2).clamp(min=1e-20).log()
        return (
            torch.where(soft[:, None, None], weights, _one_hot(cell, weights)),
            torch.where(soft[:, None], nothing, log_prob),
        )


def _one_hot(cell: Tensor, weights: Tensor) -> Tensor:
    look: Tensor = torch.zeros_like(weights).scatter(2, cell.unsqueeze(2), 1.0)
    return look
