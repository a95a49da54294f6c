"""The energies of additive attention, v · tanh(key + query), at a quarter of the cost of one tanh per pair.

With r = 1 / (1 + e^(2k) e^(2q)), tanh(k + q) = 1 − 2r: the exponentials are computed once per key and once per query,
which leaves one product and one reciprocal per pair. The derivative is tanh' = 1 − tanh² = 4 r (1 − r).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from wordgaze.models.kernels import use_fast

LIMIT = 43.0  # e^(2 · 43) is finite in single precision, and e^(-2 · 43) is not zero
CHUNK = 2**18  # pairs of key and query times attention size that fit into the processor's cache together


class AdditiveEnergy(torch.autograd.Function):
    """keys (B, L, A), query (B, R, A), v (A,) → energies (B, R, L). In single precision, on the CPU.

    Keys and queries beyond ±43 count as ±43; tanh is ±1 there unless both are that large with opposite signs.
    """

    @staticmethod
    def forward(ctx: Any, keys: Tensor, query: Tensor, v: Tensor) -> Tensor:
        """Saves the exponentials only; r, as large as all pairs, is computed again in backward, which is no slower."""
        exp_keys, exp_query = _exponential(keys), _exponential(query)
        ctx.save_for_backward(exp_keys, exp_query, v)
        return _energy(exp_keys, exp_query, v)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of keys, query and v."""
        (grad,) = grad_outputs  # (B, R, L)
        exp_keys, exp_query, v = ctx.saved_tensors
        grad_v = grad.sum().expand_as(v).clone()
        grad_keys, grad_query = torch.zeros_like(exp_keys), torch.empty_like(exp_query)
        for images, rows, r in _reciprocals(exp_keys, exp_query):
            part = grad[images, rows]
            grad_v.addmv_(r.flatten(0, 2).T, part.flatten(), alpha=-2)
            grad_pairs = torch.addcmul(r, r, r, value=-1).mul_(part.unsqueeze(3))  # r (1 − r) · grad, (·, ·, L, A)
            grad_keys[images] += grad_pairs.sum(1)
            grad_query[images, rows] = grad_pairs.sum(2)
        scale = 4 * v
        return grad_keys.mul_(scale), grad_query.mul_(scale), grad_v


def additive_energy(keys: Tensor, query: Tensor, v: Tensor) -> Tensor:
    """v · tanh(keys + query): keys (B, L, A), query (B, R, A), v (A,) → (B, R, L).

    The fast path computes bf16 in single precision and returns energies of single precision."""
    fast = use_fast(keys.device) and keys.dtype in (torch.float32, torch.bfloat16)
    if not fast or keys.shape[1] == 1 or query.shape[:2].numel() == 1:  # one key or one query: nothing is shared
        return plain_additive_energy(keys, query, v)
    keys, query, v = keys.float(), query.float(), v.float()
    if torch.is_grad_enabled():
        energy: Tensor = AdditiveEnergy.apply(keys, query, v)  # type: ignore[no-untyped-call]
        return energy
    return _energy(_exponential(keys), _exponential(query), v)


def plain_additive_energy(keys: Tensor, query: Tensor, v: Tensor) -> Tensor:
    """The formula itself: the plain twin of :func:`additive_energy`."""
    return torch.tanh(keys.unsqueeze(1) + query.unsqueeze(2)) @ v


def _energy(exp_keys: Tensor, exp_query: Tensor, v: Tensor) -> Tensor:
    energy = exp_keys.new_empty(len(exp_keys), exp_query.shape[1], exp_keys.shape[1])
    for images, rows, r in _reciprocals(exp_keys, exp_query):
        energy[images, rows] = r @ v
    return v.sum() - 2 * energy


def _reciprocals(exp_keys: Tensor, exp_query: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """r (·, ·, L, A), a few images at a time, or a few queries of one image."""
    one, (num_images, num_rows, _) = exp_keys.new_ones(1), exp_query.shape
    at_once = max(1, CHUNK // exp_keys[0].numel())  # queries
    for image in range(0, num_images, max(1, at_once // num_rows)):
        images = slice(image, image + max(1, at_once // num_rows))
        for row in range(0, num_rows, at_once):
            rows = slice(row, row + at_once)
            pairs = torch.addcmul(one, exp_keys[images].unsqueeze(1), exp_query[images, rows].unsqueeze(2))
            yield images, rows, pairs.reciprocal_()


def _exponential(x: Tensor) -> Tensor:
    return (2 * x.clamp(-LIMIT, LIMIT)).exp_()
