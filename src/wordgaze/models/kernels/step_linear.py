"""A linear layer that is applied at every step of a recurrence and computes its weight gradient once per sequence.

Autograd computes the gradient of such a weight step by step: at each step a narrow matrix product, as large as the
weight, and a sum over all of them. Here the steps save their inputs and output gradients, and one product over the
rows of all steps gives the same gradient. The weight is also brought into the layout of oneDNN's kernels once per
sequence, where each step would do it again. The plain twin is ``nn.Linear``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.models.kernels import use_fast
from wordgaze.models.kernels.linear import Linear, PackedWeight, pack, packed_product, product

Saved = list[tuple[Tensor, Tensor]]  # of each step the input (N, I) and the gradient of the output (N, O)


class _Sequence(NamedTuple):
    zero: Tensor  # the output of _WeightGradient
    packed: PackedWeight | None
    saved: Saved


class _WeightGradient(torch.autograd.Function):
    """Stands for weight and bias in the graph: a zero that every step takes, so its backward runs after theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, saved: Saved) -> Tensor:
        ctx.saved, ctx.has_bias = saved, bias is not None
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor | None, None]:
        inputs, gradients = (torch.cat(part) for part in zip(*ctx.saved, strict=True))
        ctx.saved.clear()
        return product(gradients.T, inputs.T), gradients.sum(0) if ctx.has_bias else None, None


class _Step(torch.autograd.Function):
    """x W^T + b, which leaves the gradients of W and b to ``_WeightGradient``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        zero: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        packed: PackedWeight | None,
        saved: Saved,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.packed, ctx.saved = packed, saved
        return packed_product(x, packed.weight, bias) if packed else product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        (grad,) = grad_outputs
        x, weight = ctx.saved_tensors
        ctx.saved.append((x, grad))
        grad_x = packed_product(grad, ctx.packed.transposed) if ctx.packed else product(grad, weight.T)
        return grad_x, weight.new_zeros(()), None, None, None, None


class StepLinear(Linear):
    """``nn.Linear`` for inputs (N, I); within :func:`deferred_weight_gradients` its weight gradient is one product."""

    _sequence: _Sequence | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, I) → (N, O)."""
        if self._sequence is None:
            return super().forward(x)
        zero, packed, saved = self._sequence
        bias = None if self.bias is None else self.bias.detach()
        output: Tensor = _Step.apply(x, zero, self.weight.detach(), bias, packed, saved)  # type: ignore[no-untyped-call]
        return output


@contextmanager
def deferred_weight_gradients(model: nn.Module, rows: int) -> Iterator[None]:
    """All calls of the model's StepLinear layers within the block are one sequence with one weight gradient.

    ``rows``: the number of rows of most calls.
    """
    layers = [module for module in model.modules() if isinstance(module, StepLinear)]
    if not torch.is_grad_enabled() or not all(use_fast(layer.weight.device) for layer in layers):
        layers = []
    for layer in layers:
        saved: Saved = []
        zero = _WeightGradient.apply(layer.weight, layer.bias, saved)  # type: ignore[no-untyped-call]
        layer._sequence = _Sequence(zero, pack(layer.weight.detach(), rows), saved)
    try:
        yield
    finally:
        for layer in layers:
            layer._sequence = None
