"""Convolutions on a CPU with their weights in the layout of oneDNN, which computes the activation along with them.

PyTorch brings the weights of a convolution into that layout at every call, and an activation of its own reads and
writes the whole feature map again. Without both, EfficientNet-Lite takes two thirds of the time on one core.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

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
_PACKABLE = (nn.Conv2d, SameConv2d)  # these classes alone: others compute something else
_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")  # type: ignore[no-untyped-call]


class _Found(NamedTuple):
    parent: nn.Module
    name: str
    conv: nn.Conv2d
    activation: Activation


class PackedConv2d(nn.Module):
    """A convolution of the weights of ``conv``, followed by ``activation``. It has no gradients.

    The layout of the weights is chosen for inputs of ``input_shape`` (B, C, H, W); other sizes are computed too.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation, input_shape: torch.Size) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.geometry = tuple(list(each) for each in (conv.padding, conv.stride, conv.dilation))
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self.packed: Tensor = reorder(conv.weight, *self.geometry, conv.groups, list(input_shape))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        conv = self.conv
        if isinstance(conv, SameConv2d):
            input = conv.padded(input)
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, self.packed, conv.bias, *self.geometry, conv.groups, *self.activation
        )
        return output


def pack_convolutions(module: nn.Module, run: Callable[[], object]) -> None:
    """Replaces the convolutions of ``module`` on a CPU by packed ones, in place; ``run`` computes it once.

    An activation that is what remains of a folded batch normalisation is computed by the convolution before it.
    """
    found = _find(module) if _HAS_ONEDNN else []
    shapes: dict[nn.Module, torch.Size] = {}

    def note(conv: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        padded = conv.padded(inputs[0]) if isinstance(conv, SameConv2d) else inputs[0]
        shapes[conv] = padded.shape

    hooks = [each.conv.register_forward_pre_hook(note) for each in found]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for parent, name, conv, activation in found:
        if conv in shapes:
            setattr(parent, name, PackedConv2d(conv, activation, shapes[conv]))
            if activation != _NONE:
                setattr(parent, _after(parent, name), nn.Identity())


def _find(module: nn.Module) -> list[_Found]:
    children = list(module.named_children())
    following = {name: after for (name, _), (_, after) in pairwise(children)}
    found = [
        _Found(module, name, child, _activation(following.get(name)))
        for name, child in children
        if isinstance(child, nn.Conv2d) and type(child) in _PACKABLE and child.padding_mode == "zeros"
        and not isinstance(child.padding, str)
    ]  # fmt: skip
    return found + [each for _, child in children for each in _find(child)]


def _activation(after: nn.Module | None) -> Activation:
    """That of a sequence of one activation, which ``fold_batch_norm`` leaves."""
    if isinstance(after, nn.Sequential) and len(after) == 1:
        return _ACTIVATIONS.get(type(after[0]), _NONE)
    return _NONE


def _after(parent: nn.Module, name: str) -> str:
    names = [each for each, _ in parent.named_children()]
    return names[names.index(name) + 1]
