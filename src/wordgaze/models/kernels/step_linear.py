"""A linear layer that is used at every step of a recurrence, and learns once behind all of them.

Autograd finds the slope of such a weight step by step: a narrow product each, as large as the weight, and a sum over
them. Here the steps keep what they multiplied, and one product over all of their rows gives the same slope.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Kept = list[tuple[Tensor, Tensor]]  # of each step the input (N, I) and the slope of the output (N, O)


class _Sum(torch.autograd.Function):
    """Stands for weight and bias in the graph: a zero that every step takes, so its backward comes behind theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, kept: Kept) -> Tensor:
        ctx.kept, ctx.biased = kept, bias is not None
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor | None, None]:
        inputs, slopes = (torch.cat(part) for part in zip(*ctx.kept, strict=True))
        ctx.kept.clear()
        return slopes.T @ inputs, slopes.sum(0) if ctx.biased else None, None


class _Step(torch.autograd.Function):
    """x W^T + b, whose slope for W and b is left to ``_Sum``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, zero: Tensor, weight: Tensor, bias: Tensor | None, kept: Kept) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kept = kept
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, weight = ctx.saved_tensors
        ctx.kept.append((x, slopes[0]))
        return slopes[0] @ weight, weight.new_zeros(()), None, None, None


class StepLinear(nn.Linear):
    """As nn.Linear for inputs (N, I); within :func:`one_sequence` its weight's slope is one product."""

    _sequence: tuple[Tensor, Kept] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, I) → (N, O)."""
        if self._sequence is None:
            return super().forward(x)
        zero, kept = self._sequence
        bias = None if self.bias is None else self.bias.detach()
        output: Tensor = _Step.apply(x, zero, self.weight.detach(), bias, kept)  # type: ignore[no-untyped-call]
        return output


@contextmanager
def one_sequence(model: nn.Module) -> Iterator[None]:
    """What the step-wise layers of a model multiply in here is one sequence, to be differentiated once."""
    layers = [module for module in model.modules() if isinstance(module, StepLinear)] if torch.is_grad_enabled() else []
    for layer in layers:
        kept: Kept = []
        layer._sequence = _Sum.apply(layer.weight, layer.bias, kept), kept  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for layer in layers:
            layer._sequence = None
