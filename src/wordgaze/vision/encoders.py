"""Pretrained networks that encode an image as a grid of features.

An encoder consists of one or several classification models of torchvision or timm, CNNs or transformers, without their
classifier. The feature maps of all networks, one or several per network, are concatenated along the channels. Input
size, normalisation and interpolation come from the metadata of the weights. Images are resized to a square and never
cropped, so the captioner sees everything that the captions describe, and a grid cell is a fixed part of the image.
"""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wordgaze.core.errors import ModelError
from wordgaze.core.out_of_memory import halved
from wordgaze.core.settings import problems_of
from wordgaze.vision.efficientnet_lite import EfficientNetLite
from wordgaze.vision.fused_convolution import fuse_convolutions
from wordgaze.vision.networks import (
    build_network,
    feature_maps,
    find_layers,
    nearly_equal,
    network_skeleton,
    one_line,
    packaged_network,
    trainable_blocks,
    truncate,
)
from wordgaze.vision.weights import WeightsReference

JOIN = "+"

CPU_BATCH = 4
"""A CPU encodes so many images at a time: the feature maps of more do not fit into its cache."""

_LARGE = 2
"""From so many times the input size on, an image is resized by PyTorch, which is six times as fast as Pillow. One value
in several hundred differs, by 1 of 255."""

_TORCH_RESIZES = ("bilinear", "bicubic")


MAX_IMAGE_SIZE = 4096
"""The greatest height and width in pixels of an encoder's input."""

_Cells = Annotated[int, Field(ge=1, le=128)]  # 16,384 cells of 1,280 channels have 84 MB
_Deviation = Annotated[float, Field(ge=1e-6)]  # pixels are divided by it


class NetworkSpec(BaseModel):
    """One network of an encoder: mean and standard deviation of its pixels, the layers whose output is used, and the
    total number of their channels. Layers have the names of the library; see :mod:`wordgaze.vision.networks`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    mean: tuple[float, float, float]
    std: tuple[_Deviation, _Deviation, _Deviation]
    layers: tuple[str, ...] = Field(min_length=1)
    channels: int = Field(ge=1)


class EncoderSpec(BaseModel):
    """Everything besides the weights that determines the features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(ge=1, le=MAX_IMAGE_SIZE)
    interpolation: str
    grid: tuple[_Cells, _Cells]
    networks: tuple[NetworkSpec, ...] = Field(min_length=1)

    @field_validator("interpolation")
    @classmethod
    def _is_known(cls, name: str) -> str:
        known = [each.name.lower() for each in Image.Resampling]
        if name not in known:
            raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        return name

    @property
    def name(self) -> str:
        """The name of the encoder, as in ``params.yaml``."""
        return JOIN.join(network.name for network in self.networks)

    @property
    def channels(self) -> int:
        """The number of channels D of all networks and layers."""
        return sum(network.channels for network in self.networks)


class Encoder(nn.Module):
    """Frozen networks. ``forward`` maps uint8 pixels (B, 3, S, S) to features (B, L, D), cells in row-major order."""

    def __init__(self, spec: EncoderSpec, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.bodies = nn.ModuleList(bodies).eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, L, D) in the dtype of the weights."""
        if pixels.device.type == "cpu" and len(pixels) > CPU_BATCH and not torch.is_grad_enabled():
            return torch.cat([self._features(part) for part in torch.split(pixels, CPU_BATCH)])
        try:
            return self._features(pixels)
        except torch.OutOfMemoryError:
            if torch.is_grad_enabled():
                raise
        # Outside of the handler, where the error no longer holds what the failed call computed.
        return torch.cat(halved(lambda part: self._features(torch.stack(list(part))), pixels.unbind(), "the encoder"))

    def _features(self, pixels: Tensor) -> Tensor:
        return torch.cat([part for number in range(len(self.bodies)) for part in self._maps(number, pixels)], dim=2)

    def _maps(self, number: int, pixels: Tensor) -> list[Tensor]:
        """The features (B, L, C) of each layer of one network."""
        spec, body = self.spec.networks[number], self.bodies[number]
        # fp32 constants instead of buffers, which would be rounded when the encoder is cast to bf16.
        mean, std = (torch.tensor(x, device=pixels.device).view(1, 3, 1, 1) for x in (spec.mean, spec.std))
        normal = (pixels.float() / 255 - mean) / std
        dtype = next(body.parameters()).dtype
        maps = feature_maps(body, spec.layers, normal.to(dtype).contiguous(memory_format=torch.channels_last))
        return [adaptive_avg_pool2d(each, self.spec.grid).flatten(2).transpose(1, 2) for each in maps]  # (B, L, C)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: batch normalisation always uses the running statistics, even in fine-tuning."""
        return super().train(False)

    def unfreeze(self, count: int) -> list[nn.Parameter]:
        """Makes the last ``count`` blocks of each network trainable, and only these; returns their parameters.

        A block is a child module of the network, or of one of its sequences, with the normalisation that follows it.
        Raises ModelError if a network has fewer blocks.
        """
        self.requires_grad_(False)
        _, last = self._divided(count)
        parameters = [parameter for part in last for parameter in part.parameters()]
        for parameter in parameters:
            parameter.requires_grad_()
        return parameters

    def _divided(self, count: int) -> tuple[list[nn.Module], list[nn.Module]]:
        """The modules of the blocks before the last ``count`` blocks of each network, and those of these blocks. Raises
        ModelError if a network has fewer."""
        before, last = [], []
        for spec, body in zip(self.spec.networks, self.bodies, strict=True):
            blocks = trainable_blocks(body, self._probe)
            if count > len(blocks):
                raise ModelError(f"finetune.blocks ({count}) is more than the {len(blocks)} blocks of {spec.name}")
            before += [part for block in blocks[: len(blocks) - count] for part in block]
            last += [part for block in blocks[len(blocks) - count :] for part in block]
        return before, last

    def frozen_before(self, count: int, dtype: torch.dtype) -> "Encoder":
        """A copy to train the last ``count`` blocks of each network, in which a CPU computes the blocks of
        EfficientNet-Lite before them as :meth:`optimised` does, in ``dtype``. The trained parameters keep their names.

        Raises ModelError if a network has fewer blocks.
        """
        fast = copy.deepcopy(self)
        frozen = set(fast._divided(count)[0])
        lites = [body for body in fast.bodies if isinstance(body, EfficientNetLite)]
        places = [(body, name, part) for body in lites for name, part in body.named_modules() if part in frozen]
        for body, name, part in places:
            if list(part.children()):  # a layer alone has its normalisation beside it
                fold_batch_norm(part)
                fuse_convolutions(part, dtype)
                body.set_submodule(name, FrozenBlock(part.to(dtype)))
        return fast

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """Resizes RGB images of any size to a uint8 batch (B, 3, S, S), the input of ``forward``."""
        return torch.stack([self._resized(image) for image in images])

    def _resized(self, image: Image.Image) -> Tensor:
        """(3, S, S) of an image."""
        side, mode = (self.spec.image_size, self.spec.image_size), self.spec.interpolation
        if min(image.size) >= _LARGE * self.spec.image_size and mode in _TORCH_RESIZES:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (3, H, W), channels_last
            return interpolate(pixels.unsqueeze(0), side, mode=mode, antialias=True).squeeze(0)
        return torch.from_numpy(np.array(image.resize(side, Image.Resampling[mode.upper()]))).permute(2, 0, 1)

    def optimised(self, device: torch.device, dtype: torch.dtype) -> "Encoder":
        """A faster copy in ``dtype``, without gradients: batch normalisation folded into the convolutions, the memory
        format channels_last, and on a CPU convolutions that compute their activation."""
        fast = copy.deepcopy(self)
        fold_batch_norm(fast.bodies)
        if device.type == "cpu":
            fuse_convolutions(fast.bodies, dtype)
        # Both assume that a block runs its layers in the order of definition; if it does not, it stays as it was.
        in_order = all(isinstance(body, EfficientNetLite) for body in self.bodies)
        kept = fast if in_order or nearly_equal(self._probe(), fast._probe()) else copy.deepcopy(self)
        return kept.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @torch.no_grad()
    def _probe(self) -> Tensor:
        """The features of a fixed image that is not constant."""
        side = self.spec.image_size
        image = torch.arange(3 * side**2, device=next(self.bodies.parameters()).device).remainder(256)
        return self(image.to(torch.uint8).view(1, 3, side, side))  # type: ignore[no-any-return]


class FrozenBlock(nn.Module):
    """A block that is not trained, in a network that is: it computes in the dtype of its own weights."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H', W'), in the dtype of the input."""
        dtype = next(self.block.parameters()).dtype
        return self.block(input.to(dtype)).to(input.dtype)  # type: ignore[no-any-return]


def build_encoder(
    names: str,
    weights: str = "default",
    image_size: int = 0,
    grid: int = 0,
    depths: int = 1,
    upsample_last: bool = False,
) -> Encoder:
    """Builds an encoder by name, ``torchvision/NAME`` or ``timm/NAME``, or several names joined by ``+``.

    Args:
        weights: ``default`` (packaged, otherwise downloaded by the library), ``random``, or a local file for a single
            network.
        image_size: height and width of the input in pixels; 0 is the size that the first network was trained with.
        grid: rows and columns of the grid, pooled from the last feature map with at least as many; 0 is the last grid
            of the first network.
        depths: number of feature maps per network, that one and the ones of other shapes before it.
        upsample_last: takes the last feature map of each network too, where it has fewer rows and columns than the
            grid. A cell of the grid has the mean of the cells of that map that it overlaps, which is one cell where
            the grid has a multiple of its rows and columns.

    Raises ModelError for an unknown name, missing weights, and a grid or depths that a network does not have.
    """
    if JOIN in names and weights not in ("default", "random"):
        raise ModelError(f"features.weights is one file ({weights}) and {names} are several networks; give default")
    size, cells = image_size, (grid, grid)
    specs, bodies, interpolation = [], [], ""
    for name in names.split(JOIN):
        body, meta = build_network(name, weights)
        size, interpolation = size or meta.image_size, interpolation or meta.interpolation
        try:
            outputs = find_layers(name, body, size, grid, depths, upsample_last)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"{name} does not accept images of {size} pixels: {one_line(error)}") from error
        cells = cells if cells[0] else outputs[-depths].shape[1:]
        layers = tuple(output.layer for output in outputs)
        channels = sum(output.shape[0] for output in outputs)
        specs.append(NetworkSpec(name=name, mean=meta.mean, std=meta.std, layers=layers, channels=channels))
        bodies.append(truncate(body, layers))
    try:
        spec = EncoderSpec(image_size=size, interpolation=interpolation, grid=cells, networks=tuple(specs))
    except ValidationError as error:
        raise ModelError(f"{names} cannot be used: {problems_of(error)}; change features") from error
    return Encoder(spec, bodies)


def encoder_from_spec(spec: EncoderSpec, state: Mapping[str, Tensor]) -> Encoder:
    """The encoder of a captioner folder; nothing is downloaded. It takes the tensors of ``state`` over.

    Raises ModelError if the weights do not fit.
    """
    try:
        encoder = Encoder(spec, [_empty_body(network) for network in spec.networks])
    except ModelError:
        raise
    except Exception as error:  # the libraries raise various exceptions for layers that a network does not have
        raise ModelError(f"the encoder {spec.name} cannot be built: {one_line(error)}") from error
    try:
        encoder.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        raise ModelError(f"the stored weights do not fit encoder {spec.name}: {one_line(error)}") from error
    return encoder


def packaged_body(network: NetworkSpec) -> tuple[WeightsReference, dict[str, Tensor]]:
    """The packaged weights of one network of an encoder, without those of its unused layers, and what refers to them.

    Raises ModelError if the package is not installed, or has no such network.
    """
    reference, state = packaged_network(network.name)
    try:
        return reference, {name: state[name] for name in _empty_body(network).state_dict()}
    except KeyError as error:
        raise ModelError(f"{reference.package} has no weights for {network.name}: {error} is missing") from error


def _empty_body(network: NetworkSpec) -> nn.Module:
    return truncate(network_skeleton(network.name), network.layers)


def fold_batch_norm(module: nn.Module) -> None:
    """Folds every batch normalisation that follows a convolution in the order of its parent into it, in place.

    The normalisation layers of timm include an activation, which is kept.
    """
    children = list(module.named_children())
    for (name, conv), (after, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            if conv.out_channels != norm.num_features:
                continue
            rest = [child for child in norm.children() if not isinstance(child, nn.Identity)]
            setattr(module, name, fuse_conv_bn_eval(conv, norm))
            setattr(module, after, nn.Sequential(*rest))
    for _, child in children:
        fold_batch_norm(child)
