"""EfficientNet-Lite (Tan and Le 2019; the Lite variants have neither squeeze-and-excitation nor swish).

The modules have the names of timm's ``tf_efficientnet_lite*``, so weights of one are weights of the other, and the
features are equal. timm itself imports torchvision and so half of PyTorch's compiler, which takes longer than
captioning an image; a captioner with one of these encoders loads without it.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

EPSILON = 1e-3  # of the batch normalisation, as in TensorFlow
NUM_CLASSES = 1000
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


class LiteVariant(NamedTuple):
    """The compound scaling of a variant, and the size in pixels of the images that it was trained with."""

    width: float
    depth: float
    image_size: int


LITE_VARIANTS = {
    "tf_efficientnet_lite0": LiteVariant(1.0, 1.0, 224),
    "tf_efficientnet_lite1": LiteVariant(1.0, 1.1, 240),
    "tf_efficientnet_lite2": LiteVariant(1.1, 1.2, 260),
}
LITE_MEAN = LITE_STD = (0.5, 0.5, 0.5)
LITE_INTERPOLATION = "bicubic"


class _Stage(NamedTuple):
    """Inverted residual blocks (Sandler et al. 2018): the first has the stride and changes the number of channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite(nn.Module):
    """A classifier of normalised images (B, 3, S, S). It has those methods of timm's models that an encoder needs."""

    def __init__(self, variant: LiteVariant) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, 3, stride=2)
        self.bn1 = BatchNormRelu(STEM_CHANNELS)
        stages, channels = [], STEM_CHANNELS
        for stage in _scaled(variant):
            stages.append(_stage(channels, stage))
            channels = stage.channels
        self.blocks = nn.Sequential(*stages)
        self.conv_head = SameConv2d(channels, HEAD_CHANNELS, 1)
        self.bn2 = BatchNormRelu(HEAD_CHANNELS)
        self.classifier: nn.Module = nn.Linear(HEAD_CHANNELS, NUM_CLASSES)
        # A stage before one of stride 2 is the last of its resolution.
        ends = [i for i in range(len(_STAGES)) if i + 1 == len(_STAGES) or _STAGES[i + 1].stride == 2]
        self.feature_info = [{"module": f"blocks.{end}"} for end in ends]

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits (B, 1000) of the ImageNet classes."""
        return self.classifier(self.forward_features(pixels).mean((2, 3)))  # type: ignore[no-any-return]

    def forward_features(self, pixels: Tensor) -> Tensor:
        """The feature maps (B, C, H, W) before pooling."""
        features: Tensor = self.forward_intermediates(pixels, indices=())[0]
        return features

    def forward_intermediates(
        self, pixels: Tensor, indices: Sequence[int] | None = None, intermediates_only: bool = False
    ) -> Any:
        """(features before pooling, feature maps of the stages ``indices`` of ``feature_info``), or only the latter."""
        modules = [each["module"] for each in self.feature_info]
        wanted = set(modules if indices is None else (modules[i] for i in indices))
        maps, x = [], self.bn1(self.conv_stem(pixels))
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if f"blocks.{number}" in wanted:
                maps.append(x)
        if intermediates_only:
            return maps
        return self.bn2(self.conv_head(x)) if len(self.blocks) == len(_STAGES) else x, maps

    def reset_classifier(self, num_classes: int) -> None:
        """Removes the classifier; ``num_classes`` must be 0."""
        assert num_classes == 0, "there is no other classifier"
        self.classifier = nn.Identity()

    def prune_intermediate_layers(self, indices: Sequence[int], prune_head: bool = True) -> None:
        """Removes the stages after the last of ``indices`` of ``feature_info``, and all that follows the stages."""
        last = int(self.feature_info[max(indices)]["module"].rpartition(".")[2])
        self.blocks = nn.Sequential(*list(self.blocks)[: last + 1])
        if prune_head:
            self.conv_head, self.bn2 = nn.Identity(), nn.Identity()  # type: ignore[assignment]
            self.reset_classifier(0)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow: with a stride, more at the bottom and at the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.side = kernel

    def reset_parameters(self) -> None:
        """He et al. 2015, by the number of outputs, as timm initialises the network."""
        if not self.weight.is_meta:
            fan_out = self.kernel_size[0] ** 2 * self.out_channels // self.groups
            nn.init.normal_(self.weight, 0, math.sqrt(2 / fan_out))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', ⌈H / stride⌉, ⌈W / stride⌉)."""
        input = self.padded(input)
        return conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def padded(self, input: Tensor) -> Tensor:
        """The input with the zeros around it that a stride needs besides ``padding``."""
        if self.stride[0] == 1:
            return input
        (top, bottom), (left, right) = (self._margins(size) for size in input.shape[-2:])
        return pad(input, (left, right, top, bottom))

    def _margins(self, size: int) -> tuple[int, int]:
        stride = self.stride[0]
        total = max((math.ceil(size / stride) - 1) * stride + self.side - size, 0)
        return total // 2, total - total // 2


class BatchNormRelu(nn.BatchNorm2d):
    """Batch normalisation, and ReLU6."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPSILON)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return self.act(super().forward(input))  # type: ignore[no-any-return]


class SeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution: a block without expansion."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = BatchNormRelu(inputs)
        self.conv_pw = SameConv2d(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, EPSILON)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        x: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(input))))
        return x + input if self.has_skip else x


class InvertedBlock(nn.Module):
    """A pointwise expansion, a depthwise convolution and a linear pointwise projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.conv_pw = SameConv2d(inputs, inside, 1)
        self.bn1 = BatchNormRelu(inside)
        self.conv_dw = SameConv2d(inside, inside, kernel, stride, groups=inside)
        self.bn2 = BatchNormRelu(inside)
        self.conv_pwl = SameConv2d(inside, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs, EPSILON)
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W')."""
        inside = self.bn2(self.conv_dw(self.bn1(self.conv_pw(input))))
        x: Tensor = self.bn3(self.conv_pwl(inside))
        return x + input if self.has_skip else x


def lite_skeleton(name: str) -> EfficientNetLite:
    """A classifier whose tensors have shapes but no values, for ``load_state_dict(..., assign=True)``."""
    with torch.device("meta"):
        return EfficientNetLite(LITE_VARIANTS[name]).eval()


def _scaled(variant: LiteVariant) -> list[_Stage]:
    """The stages of a variant. The first and the last stage are not deepened."""
    inner = range(1, len(_STAGES) - 1)
    return [
        stage._replace(
            channels=_rounded(stage.channels * variant.width),
            repeats=math.ceil(stage.repeats * variant.depth) if number in inner else stage.repeats,
        )
        for number, stage in enumerate(_STAGES)
    ]


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not less than 90 % of ``channels``."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _stage(inputs: int, stage: _Stage) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for number in range(stage.repeats):
        stride = stage.stride if number == 0 else 1
        if stage.expansion == 1:
            blocks.append(SeparableBlock(inputs, stage.channels, stage.kernel, stride))
        else:
            blocks.append(InvertedBlock(inputs, stage.channels, stage.kernel, stride, stage.expansion))
        inputs = stage.channels
    return nn.Sequential(*blocks)
