"""Convolutions on a CPU that compute the activation after them, in one call of oneDNN.

An activation of its own reads and writes the whole feature map again. And on one core PyTorch does not compute a
convolution of 1 x 1 in single precision with oneDNN, but more slowly as a product.
"""

from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from wordgaze.vision.efficientnet_lite import SameConv2d

Activation = tuple[str, list[float], str]
"""The name of an activation in oneDNN, its numbers, and its algorithm."""

_NONE: Activation = ("none", [], "")
_ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
    nn.Hardswish: ("hardswish", [], ""),
}
_FUSABLE = (nn.Conv2d, SameConv2d)  # these classes alone: others compute something else
_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")  # type: ignore[no-untyped-call]
_HAS_BF16: bool = _HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class FusedConv2d(nn.Module):
    """The convolution ``conv``, followed by ``activation``. It has no gradients."""

    def __init__(self, conv: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.geometry = tuple(list(each) for each in (conv.padding, conv.stride, conv.dilation))

    def __getattr__(self, name: str) -> Any:
        """What some networks ask a convolution for when they run: its weight, its kernel size."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("conv"), name)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        conv = self.conv
        if isinstance(conv, SameConv2d):
            input = conv.padded(input)
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, conv.weight, conv.bias, *self.geometry, conv.groups, *self.activation
        )
        return output


def fuse_convolutions(module: nn.Module, dtype: torch.dtype) -> None:
    """Replaces the convolutions of ``module``, which will compute in ``dtype``, by fused ones, in place.

    The activation is what remains of a folded batch normalisation: the next child of the convolution's parent, a
    sequence of one of the activations that oneDNN has. After any other child a convolution is replaced alone.
    In bf16 nothing is replaced where the processor has no kernels for it, because oneDNN refuses that.
    """
    if not _HAS_ONEDNN or (dtype == torch.bfloat16 and not _HAS_BF16):
        return
    children = list(module.named_children())
    following = dict(pairwise(name for name, _ in children))
    for name, child in children:
        if isinstance(child, FusedConv2d):
            continue
        if not _is_fusable(child):
            fuse_convolutions(child, dtype)
            continue
        after = following.get(name, "")
        activation = _activation(getattr(module, after)) if after else _NONE
        setattr(module, name, FusedConv2d(child, activation))
        if activation != _NONE:
            setattr(module, after, nn.Identity())


def _is_fusable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in _FUSABLE
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _activation(after: nn.Module) -> Activation:
    if isinstance(after, nn.Sequential) and len(after) == 1:
        return _ACTIVATIONS.get(type(after[0]), _NONE)
    return _NONE
