"""The energies of additive attention, v · tanh(keys + query), at a quarter of the cost of taking every tanh.

With r = 1 / (1 + e^(2k) e^(2q)) it is tanh(k + q) = 1 − 2r: the exponentials are taken once a key and once a query,
and what is left for each pair of them is a product and a reciprocal. The slope is tanh' = 1 − tanh² = 4 r (1 − r).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LIMIT = 43.0  # e^(2 · 43) is still a number in single precision, and e^(-2 · 43) is not zero
CHUNK = 4  # pictures whose sums are in the processor's cache together


class AdditiveEnergy(torch.autograd.Function):
    """keys (B, L, A), asked (B, R, A), v (A,) → energies (B, R, L). In single precision, on the CPU.

    Keys and queries beyond ±43 count as ±43; tanh is ±1 there unless both are that far out with opposite signs.
    """

    @staticmethod
    def forward(ctx: Any, keys: Tensor, asked: Tensor, v: Tensor) -> Tensor:
        """Keeps the exponentials; r, as large as all pairs, is computed again for slopes: no slower, and not kept."""
        k, q = _exponential(keys), _exponential(asked)
        ctx.save_for_backward(k, q, v)
        return v.sum() - 2 * torch.cat([r @ v for r in _reciprocals(k, q)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The slopes of keys, queries and v."""
        (slope,) = gradients  # (B, R, L)
        k, q, v = ctx.saved_tensors
        of_v, of_keys, of_asked = slope.sum().expand_as(v).clone(), [], []
        for r, part in zip(_reciprocals(k, q), torch.split(slope, CHUNK), strict=True):
            of_v.addmv_(r.flatten(0, 2).T, part.flatten(), alpha=-2)
            tanh = torch.addcmul(r, r, r, value=-1).mul_(part.unsqueeze(3))  # r (1 − r) · slope
            of_keys.append(tanh.sum(1))
            of_asked.append(tanh.sum(2))
        scale = 4 * v
        return torch.cat(of_keys).mul_(scale), torch.cat(of_asked).mul_(scale), of_v


def additive_energy(keys: Tensor, asked: Tensor, v: Tensor) -> Tensor:
    """v · tanh(keys + asked): keys (B, L, A), asked (B, R, A), v (A,) → (B, R, L)."""
    fast = keys.device.type == "cpu" and keys.dtype == asked.dtype == torch.float32
    if not fast or keys.shape[1] == 1 or asked.shape[:2].numel() == 1:  # one key or one query: nothing to share
        return torch.tanh(keys.unsqueeze(1) + asked.unsqueeze(2)) @ v
    if torch.is_grad_enabled():
        energy: Tensor = AdditiveEnergy.apply(keys, asked, v)  # type: ignore[no-untyped-call]
        return energy
    return v.sum() - 2 * torch.cat([r @ v for r in _reciprocals(_exponential(keys), _exponential(asked))])


def _reciprocals(k: Tensor, q: Tensor) -> Iterator[Tensor]:
    """r (·, R, L, A) of some pictures after the other, from the exponentials of keys and queries."""
    one = k.new_ones(1)
    for a, b in zip(torch.split(k, CHUNK), torch.split(q, CHUNK), strict=True):
        yield torch.addcmul(one, a.unsqueeze(1), b.unsqueeze(2)).reciprocal_()


def _exponential(x: Tensor) -> Tensor:
    return (2 * x.clamp(-LIMIT, LIMIT)).exp_()
