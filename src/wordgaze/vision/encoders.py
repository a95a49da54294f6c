"""Pretrained networks that turn a picture into a grid of features.

Any classification model of torchvision or timm, by name, CNN or transformer. Input size, normalisation and
interpolation come from the weights' own metadata. Pictures are resized to a square as a whole, never cropped: the
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

from wordgaze.errors import ModelError
from wordgaze.vision.networks import alike, blocks, cut, find_layer, maps, network, one_line


class EncoderSpec(BaseModel):
    """What has to be known, besides the weights, to compute the same features again.

    ``layer`` is where the network is cut, in its library's own words; see :mod:`wordgaze.vision.networks`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    grid: tuple[int, int]
    channels: int
    layer: str = ""


class Encoder(nn.Module):
    """A frozen network. ``forward`` takes pixels (B, 3, S, S) in uint8 and gives features (B, L, D), row by row."""

    def __init__(self, spec: EncoderSpec, body: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.body = body.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features in the number format of the weights."""
        # Constants in fp32, not buffers: those would be rounded when the encoder is cast to bf16.
        mean, std = (torch.tensor(x, device=pixels.device).view(1, 3, 1, 1) for x in (self.spec.mean, self.spec.std))
        normal = (pixels.float() / 255 - mean) / std
        dtype = next(self.body.parameters()).dtype
        found = maps(self.body, self.spec.layer, normal.to(dtype).contiguous(memory_format=torch.channels_last))
        return adaptive_avg_pool2d(found, self.spec.grid).flatten(2).transpose(1, 2)

    def train(self, mode: bool = True) -> Self:
        """Changes nothing: batch normalisation keeps the statistics of the stored weights, even when fine-tuned."""
        return super().train(False)

    def unfreeze(self, count: int) -> list[nn.Parameter]:
        """Lets the last ``count`` blocks learn, and only these; gives their parameters.

        A block is a child of the network, or of one of its sequences, with the normalisation that follows it. Raises
        ModelError where there are fewer.
        """
        found = blocks(self.body, self._look)
        if count > len(found):
            raise ModelError(f"finetune_blocks ({count}) is more than the {len(found)} blocks of {self.spec.name}")
        self.requires_grad_(False)
        parameters = [p for block in found[len(found) - count :] for part in block for p in part.parameters()]
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
        fold_batch_norm(fast.body)
        # Layers are folded by the order in which a block lists them; where that is not the order of work, they are not.
        kept = fast if alike(self._look(), fast._look()) else copy.deepcopy(self)
        moved: Encoder = kept.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved

    @torch.no_grad()
    def _look(self) -> Tensor:
        """The features of a picture with something in it."""
        side = self.spec.image_size
        picture = torch.arange(3 * side**2, device=next(self.body.parameters()).device).remainder(256)
        return self(picture.to(torch.uint8).view(1, 3, side, side))  # type: ignore[no-any-return]


def build_encoder(name: str, weights: str = "default", image_size: int = 0, grid: int = 0) -> Encoder:
    """Builds an encoder by name, ``torchvision/NAME`` or ``timm/NAME``.

    ``weights``: ``default`` (packaged, else the library's download), ``random``, or a local file. ``image_size`` 0 is
    what the weights were trained on. ``grid`` 0 keeps the network's last grid; N takes its last map of at least N cells
    a side and averages that to N x N. Raises ModelError for what cannot be had.
    """
    body, meta = network(name, weights)
    size = image_size or meta["image_size"]
    try:
        layer, (channels, rows, columns) = find_layer(name, body, size, grid)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{name} takes no pictures of {size} pixels: {one_line(error)}") from error
    cells = (grid, grid) if grid else (rows, columns)
    fixed = {"name": name, "image_size": size, "grid": cells, "channels": channels, "layer": layer}
    return Encoder(EncoderSpec(**{**meta, **fixed}), cut(body, layer))


def encoder_from_spec(spec: EncoderSpec, state: Mapping[str, Tensor]) -> Encoder:
    """The encoder of a captioner folder: architecture by name, weights as given; nothing is downloaded."""
    body, _ = network(spec.name, "random")
    encoder = Encoder(spec, cut(body, spec.layer))
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
