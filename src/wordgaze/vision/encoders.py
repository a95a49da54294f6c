"""Pretrained networks that turn a picture into a grid of features.

Any classification models of torchvision or timm, by name, CNN or transformer: one, or several that see the same
picture, from each of them the last map or maps of several depths, side by side in each cell. Input size, normalisation
and interpolation come from the weights' own metadata. Pictures are resized to a square as a whole, never cropped: the
captioner sees all that the captions speak of, and a grid cell is a fixed part of the photograph.
"""

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wordgaze.core.errors import ModelError
from wordgaze.vision.networks import alike, blocks, cut, find_layers, maps, network, one_line

JOIN = "+"


class NetworkSpec(BaseModel):
    """One network of an encoder: what its pixels are normalised by, which of its layers are taken, and how many
    channels these have together. Layers are named in the library's own words; see :mod:`wordgaze.vision.networks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: tuple[str, ...]
    channels: int


class EncoderSpec(BaseModel):
    """What has to be known, besides the weights, to compute the same features again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    interpolation: str
    grid: tuple[int, int]
    networks: tuple[NetworkSpec, ...]

    @property
    def name(self) -> str:
        """As in ``params.yaml``."""
        return JOIN.join(network.name for network in self.networks)

    @property
    def channels(self) -> int:
        """Of a cell, all networks and layers together."""
        return sum(network.channels for network in self.networks)


class Encoder(nn.Module):
    """Frozen networks. ``forward`` takes pixels (B, 3, S, S) in uint8 and gives features (B, L, D), row by row."""

    def __init__(self, spec: EncoderSpec, bodies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.bodies = nn.ModuleList(bodies).eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features in the number format of the weights."""
        return torch.cat([part for place in range(len(self.bodies)) for part in self._maps(place, pixels)], dim=2)

    def _maps(self, place: int, pixels: Tensor) -> list[Tensor]:
        """The features (B, L, channels) of each layer that is taken of a network."""
        spec, body = self.spec.networks[place], self.bodies[place]
        # Constants in fp32, not buffers: those would be rounded when the encoder is cast to bf16.
        mean, std = (torch.tensor(x, device=pixels.device).view(1, 3, 1, 1) for x in (spec.mean, spec.std))
        normal = (pixels.float() / 255 - mean) / std
        dtype = next(body.parameters()).dtype
        found = maps(body, spec.layers, normal.to(dtype).contiguous(memory_format=torch.channels_last))
        return [adaptive_avg_pool2d(one, self.spec.grid).flatten(2).transpose(1, 2) for one in found]

    def train(self, mode: bool = True) -> Self:
        """Changes nothing: batch normalisation keeps the statistics of the stored weights, even when fine-tuned."""
        return super().train(False)

    def unfreeze(self, count: int) -> list[nn.Parameter]:
        """Lets the last ``count`` blocks of each network learn, and only these; gives their parameters.

        A block is a child of the network, or of one of its sequences, with the normalisation that follows it. Raises
        ModelError where there are fewer.
        """
        self.requires_grad_(False)
        found = [blocks(body, self._look) for body in self.bodies]
        for spec, of_one in zip(self.spec.networks, found, strict=True):
            if count > len(of_one):
                raise ModelError(f"finetune_blocks ({count}) is more than the {len(of_one)} blocks of {spec.name}")
        last = [block for of_one in found for block in of_one[len(of_one) - count :]]
        parameters = [p for block in last for part in block for p in part.parameters()]
        for parameter in parameters:
            parameter.requires_grad_()
        return parameters

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB pictures of any size, as the uint8 batch (B, 3, S, S) that ``forward`` takes."""
        side = (self.spec.image_size, self.spec.image_size)
        resample = Image.Resampling[self.spec.interpolation.upper()]
        arrays = [np.asarray(image.resize(side, resample)) for image in images]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def optimised(self, device: torch.device, dtype: torch.dtype) -> "Encoder":
        """The same encoder for speed: batch normalisation folded into the convolutions, channels_last, ``dtype``."""
        fast = copy.deepcopy(self)
        fold_batch_norm(fast.bodies)
        # Layers are folded by the order in which a block lists them; where that is not the order of work, they are not.
        kept = fast if alike(self._look(), fast._look()) else copy.deepcopy(self)
        moved: Encoder = kept.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved

    @torch.no_grad()
    def _look(self) -> Tensor:
        """The features of a picture with something in it."""
        side = self.spec.image_size
        picture = torch.arange(3 * side**2, device=next(self.bodies.parameters()).device).remainder(256)
        return self(picture.to(torch.uint8).view(1, 3, side, side))  # type: ignore[no-any-return]


def build_encoder(names: str, weights: str = "default", image_size: int = 0, grid: int = 0, depths: int = 1) -> Encoder:
    """Builds an encoder by name, ``torchvision/NAME`` or ``timm/NAME``, or several with ``+`` between them.

    ``weights``: ``default`` (packaged, else the library's download), ``random``, or a local file, of a single network.
    ``image_size`` 0 is what the first network's weights were trained on. ``grid`` 0 keeps the first network's last
    grid; N takes its last map of at least N cells a side; all maps are averaged to that. ``depths``: so many maps of
    each network, of other channels or cells each, that one and those before it. Raises ModelError for what cannot be
    had.
    """
    if JOIN in names and weights not in ("default", "random"):
        raise ModelError(f"features.weights is one file ({weights}) and {names} are several networks; give default")
    size, cells = image_size, (grid, grid)
    specs, bodies, interpolation = [], [], ""
    for name in names.split(JOIN):
        body, meta = network(name, weights)
        size, interpolation = size or meta.image_size, interpolation or meta.interpolation
        try:
            found = find_layers(name, body, size, grid, depths)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"{name} takes no pictures of {size} pixels: {one_line(error)}") from error
        cells = cells if cells[0] else found[0].shape[1:]
        layers = tuple(one.layer for one in found)
        channels = sum(one.shape[0] for one in found)
        specs.append(NetworkSpec(name=name, mean=meta.mean, std=meta.std, layers=layers, channels=channels))
        bodies.append(cut(body, layers))
    spec = EncoderSpec(image_size=size, interpolation=interpolation, grid=cells, networks=tuple(specs))
    return Encoder(spec, bodies)


def encoder_from_spec(spec: EncoderSpec, state: Mapping[str, Tensor]) -> Encoder:
    """The encoder of a captioner folder: architecture by name, weights as given; nothing is downloaded."""
    encoder = Encoder(spec, [cut(network(one.name, "random")[0], one.layers) for one in spec.networks])
    try:
        encoder.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ModelError(f"the stored weights do not fit encoder {spec.name}: {one_line(error)}") from error
    return encoder


def fold_batch_norm(module: nn.Module) -> None:
    """Folds, in place, every batch normalisation that directly follows a convolution in its parent's order.

    timm's normalisation layers carry the activation with them, which stays in their place.
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
