"""A linear layer that is applied at every step of a recurrence and computes its weight gradient once per sequence.

Autograd computes the gradient of such a weight step by step: at each step a narrow matrix product, as large as the
weight, and a sum over all of them. Here the steps save their inputs and output gradients, and one product over the
rows of all steps gives the same gradient. The plain twin is ``nn.Linear``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from wordgaze.models.kernels import use_fast

Saved = list[tuple[Tensor, Tensor]]  # of each step the input (N, I) and the gradient of the output (N, O)


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
        return gradients.T @ inputs, gradients.sum(0) if ctx.has_bias else None, None


class _Step(torch.autograd.Function):
    """x W^T + b, which leaves the gradients of W and b to ``_WeightGradient``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, zero: Tensor, weight: Tensor, bias: Tensor | None, saved: Saved) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.saved = saved
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (grad,) = grad_outputs
        x, weight = ctx.saved_tensors
        ctx.saved.append((x, grad))
        return grad @ weight, weight.new_zeros(()), None, None, None


class StepLinear(nn.Linear):
    """``nn.Linear`` for inputs (N, I); within :func:`deferred_weight_gradients` its weight gradient is one product."""

    _sequence: tuple[Tensor, Saved] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, I) → (N, O)."""
        if self._sequence is None:
            return super().forward(x)
        zero, saved = self._sequence
        bias = None if self.bias is None else self.bias.detach()
        output: Tensor = _Step.apply(x, zero, self.weight.detach(), bias, saved)  # type: ignore[no-untyped-call]
        return output


@contextmanager
def deferred_weight_gradients(model: nn.Module) -> Iterator[None]:
    """All calls of the model's StepLinear layers within the block are one sequence with one weight gradient."""
    layers = [module for module in model.modules() if isinstance(module, StepLinear)]
    if not torch.is_grad_enabled() or not all(use_fast(layer.weight.device) for layer in layers):
        layers = []
    for layer in layers:
        saved: Saved = []
        layer._sequence = _WeightGradient.apply(layer.weight, layer.bias, saved), saved  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for layer in layers:
            layer._sequence = None
