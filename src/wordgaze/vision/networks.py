"""The classification networks of torchvision and timm: built by name and truncated after a layer that outputs a grid.

Each library truncates its own networks. Those of torchvision are traced, and a layer is the name of a graph node. Those
of timm list their stages, and a layer is the name of a stage, or "" for the features before the classifier.
"""

import copy
import difflib
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from wordgaze.core.errors import ModelError
from wordgaze.vision.efficientnet_lite import (
    LITE_INTERPOLATION,
    LITE_MEAN,
    LITE_STD,
    LITE_VARIANTS,
    EfficientNetLite,
    lite_skeleton,
)
from wordgaze.vision.weights import PACKAGED, WeightsReference, packaged_file, read_packaged, read_weights


class Meta(NamedTuple):
    """How the weights of a network were trained: input size in pixels, normalisation, interpolation."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


class LayerOutput(NamedTuple):
    """A layer that outputs a grid, and its shape (channels, rows, columns)."""

    layer: str
    shape: tuple[int, int, int]


def build_network(name: str, weights: str) -> tuple[nn.Module, Meta]:
    """A complete classifier, ``torchvision/NAME`` or ``timm/NAME``. Raises ModelError for an unknown name and for
    weights that cannot be loaded."""
    library, _, model = name.partition("/")
    if library not in _LIBRARIES:
        raise ModelError(f"encoder {name!r} is unknown: features.encoder is torchvision/NAME or timm/NAME")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # random weights are reproducible
        try:
            body, meta = _LIBRARIES[library](model, weights)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the {weights} weights of {name} cannot be loaded: {one_line(error)}; "
                "set features.weights to a local weights file"
            ) from error
    return body.eval(), meta


def network_skeleton(name: str) -> nn.Module:
    """A complete classifier whose weights are still to be loaded, with ``load_state_dict(..., assign=True)``."""
    library, _, model = name.partition("/")
    if library == "timm" and model in LITE_VARIANTS:
        return lite_skeleton(model)
    return build_network(name, "random")[0]


@lru_cache(maxsize=4)
def packaged_network(name: str) -> tuple[WeightsReference, dict[str, Tensor]]:
    """The weights of a network of PACKAGED, read from the installed package once, and what refers to their file.

    They are those of the complete classifier: the state dict of ``build_network(name, "default")``, in which
    ``classifier.weight`` (1000, C) and ``classifier.bias`` are the head for the classes of ImageNet. All callers share
    the tensors, so none may change them. Raises ModelError if the package is not installed, or its file is broken.
    """
    own = network_skeleton(name).state_dict()
    try:
        reference, state = read_packaged(name, own)
    except ModelError:
        raise
    except Exception as error:  # as in ``_load``
        raise ModelError(f"the packaged weights of {name} are broken: {one_line(error)}; install them again") from error
    return reference, state


def find_layers(
    name: str, body: nn.Module, size: int, grid: int, depths: int = 1, upsample_last: bool = False
) -> list[LayerOutput]:
    """``depths`` layers of a complete classifier that output grids for images of ``size`` x ``size`` pixels, in reverse
    order.

    The first is the last layer with at least ``grid`` rows (and at least two); each of the others is the next one
    before it with another shape. With ``upsample_last`` the last layer of the network is one more, in front of them, if
    it has fewer rows.

    Raises ModelError if fewer than ``depths`` layers have such a grid.
    """
    pixels = torch.linspace(-1, 1, 3 * size**2).view(
        1, 3, size, size
    )  # not zeros, which would stay zeros in every layer
    outputs: list[LayerOutput] = []
    finest = 0
    last: LayerOutput | None = None
    with torch.no_grad():  # not inference_mode: some networks cache tensors, which could not be used in training
        for layer, shape in (_timm_maps if _is_timm(body) else _traced_maps)(body, pixels):
            channels, rows, columns = shape
            if last is None and rows >= 2:
                last = LayerOutput(layer, (channels, rows, columns))
            if rows >= max(grid, 2) and (not outputs or outputs[-1].shape != shape):
                outputs.append(LayerOutput(layer, (channels, rows, columns)))
            if len(outputs) == depths:
                return [last, *outputs] if upsample_last and last and last != outputs[0] else outputs
            finest = max(finest, rows)
    if finest < 2:
        raise ModelError(f"{name} outputs no grid of features at {size} pixels")
    if not outputs:
        raise ModelError(
            f"features.grid ({grid}) is finer than any of {name} at {size} pixels; the finest is {finest}x{finest}"
        )
    raise ModelError(
        f"features.depths ({depths}) is more than the {len(outputs)} feature maps of {name} with at least that grid"
    )


def truncate(body: nn.Module, layers: Sequence[str]) -> nn.Module:
    """The network up to the last of ``layers``, without the layers after it. Modifies ``body``."""
    if not _is_timm(body):
        return _trace(body, {layer: layer for layer in layers})
    model: Any = body
    if "" in layers:
        model.reset_classifier(0)
    else:
        model.prune_intermediate_layers([_stages(model).index(layer) for layer in layers], prune_head=True)
    return body


def feature_maps(body: nn.Module, layers: Sequence[str], pixels: Tensor) -> list[Tensor]:
    """The output (B, C, H, W) of each of ``layers`` for normalised pixels (B, 3, S, S); ``body`` is the result of
    :func:`truncate` with the same layers. Raises ModelError if an output is not a grid."""
    model: Any = body
    if not _is_timm(body):
        outputs = model(pixels)
    elif layers == ("",):
        outputs = {"": model.forward_features(pixels)}
    else:
        stages = [stage for stage in _stages(model) if stage in layers]
        indices = [_stages(model).index(stage) for stage in stages]
        last, intermediates = model.forward_intermediates(pixels, indices=indices)
        outputs = {"": last, **dict(zip(stages, intermediates, strict=True))}
    grids = [_grid(outputs[layer], getattr(body, "num_prefix_tokens", None)) for layer in layers]
    if none := [layer for layer, grid in zip(layers, grids, strict=True) if grid is None]:
        raise ModelError(f"{type(body).__name__} outputs no grid of features at {', '.join(none) or 'its end'}")
    return [grid for grid in grids if grid is not None]


def trainable_blocks(body: nn.Module, forward: Callable[[], object]) -> list[list[nn.Module]]:
    """The blocks of ``body`` with parameters that are used when ``forward`` runs it, in the order of execution.

    A sequence is divided into its children. A module with only one-dimensional parameters, a normalisation, belongs to
    the block before it.
    """
    calls: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda module, *_: calls.append(module)) for module in body.modules()]
    try:
        forward()
    finally:
        for hook in hooks:
            hook.remove()
    last = {module: position for position, module in enumerate(calls)}
    ends = {part: max(last.get(module, -1) for module in part.modules()) for part in _parts(body)}
    blocks: list[list[nn.Module]] = []
    for part in sorted((part for part, end in ends.items() if end >= 0), key=ends.__getitem__):
        if blocks and all(parameter.dim() == 1 for parameter in part.parameters()):
            blocks[-1].append(part)
        else:
            blocks.append([part])
    return blocks


def nearly_equal(expected: Tensor, actual: Tensor) -> bool:
    """Whether two tensors have one shape and are equal except for rounding."""
    tolerance = 1e-3 * float(expected.abs().max())
    return expected.shape == actual.shape and torch.allclose(expected, actual, rtol=1e-3, atol=tolerance)


def one_line(error: Exception) -> str:
    """The message of an error, shortened to one line."""
    return textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__


def _is_timm(body: nn.Module) -> bool:
    return hasattr(body, "forward_intermediates")


def _stages(body: Any) -> list[str]:
    return [stage["module"] for stage in body.feature_info]


def _timm_maps(body: Any, pixels: Tensor) -> Iterator[tuple[str, torch.Size]]:
    """Layers that output a grid, with its shape (C, H, W), in reverse order."""
    final = _grid(body.forward_features(pixels), getattr(body, "num_prefix_tokens", None))
    stages = body.forward_intermediates(pixels, intermediates_only=True)
    # If the last stage is the final output, its name would drop more than the classifier (VGG, MobileNet).
    if final is not None and not nearly_equal(final, stages[-1]):
        yield "", final.shape[1:]
    for layer, stage in reversed(list(zip(_stages(body), stages, strict=True))):
        yield layer, stage.shape[1:]


def _traced_maps(body: nn.Module, pixels: Tensor) -> Iterator[tuple[str, torch.Size]]:
    """Layers that output a grid, with its shape (C, H, W), in reverse order.

    Only layers whose output is the sole input of the rest of the network: neither one of several branches nor a layer
    that a shortcut bypasses.
    """
    from torchvision.models.feature_extraction import get_graph_node_names

    names: list[str] = get_graph_node_names(body, suppress_diff_warning=True)[1]
    traced = copy.deepcopy(_trace(body, {name: name for name in names})).to("meta")  # shapes without computation
    run = _Shapes(traced)
    run.run(pixels.to("meta"))
    named: Any = traced.graph.output_node().args[0]
    layers: list[tuple[str, torch.Size]] = []
    finest = pixels.shape[-1]
    for name, node in named.items():
        shape = run.shapes.get(node)
        # A later map with more cells is a coarser one upsampled, or not a map; three channels are the input.
        if shape is not None and shape[0] > 3 and shape[-1] <= finest:
            layers.append((name, shape))
            finest = shape[-1]
    return reversed(layers)


class _Shapes(fx.Interpreter):
    """Runs a graph and records in ``shapes`` the (C, H, W) of each grid on which all later nodes depend alone."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # errors without the position in the graph
        self.shapes: dict[fx.Node, torch.Size] = {}
        self._positions = {node: position for position, node in enumerate(traced.graph.nodes)}
        self._from_input: set[fx.Node] = set()
        self._last_use = 0  # the position of the last use of an earlier value

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        depends = n.op == "placeholder" or not self._from_input.isdisjoint(n.all_input_nodes)
        if depends and any(isinstance(leaf, Tensor) for leaf in _pytree.tree_leaves(value)):
            grid = _grid(value)
            if grid is not None and self._last_use <= self._positions[n]:
                self.shapes[n] = grid.shape[1:]
            self._from_input.add(n)
            users = [self._positions[user] for user in n.users if user.op != "output"]
            self._last_use = max([self._last_use, *users])
        return value


def _trace(body: nn.Module, nodes: dict[str, str]) -> fx.GraphModule:
    from torchvision.models.feature_extraction import create_feature_extractor

    # The result has a second graph for training, which a deep copy of both would use.
    dual = create_feature_extractor(body, nodes, suppress_diff_warning=True)
    return fx.GraphModule(dual, dual.graph, type(body).__name__).eval()


def _grid(output: object, prefix: int | None = None) -> Tensor | None:
    """(B, C, H, W) from a map with channels first or last, or from tokens (B, N, C) after ``prefix`` class tokens; None
    for any other output.

    Images and so their grids are square. If ``prefix`` is None, it is what remains of N beside a square number.
    """
    if not isinstance(output, Tensor):
        return None
    if output.dim() == 4 and output.shape[2] == output.shape[3]:
        return output
    if output.dim() == 4 and output.shape[1] == output.shape[2]:
        return output.permute(0, 3, 1, 2)
    if output.dim() == 3:
        first = output.shape[1] - math.isqrt(output.shape[1]) ** 2 if prefix is None else prefix
        cells = output.shape[1] - first
        side = math.isqrt(max(cells, 0))
        if 0 < side**2 == cells:
            return output[:, first:].transpose(1, 2).reshape(len(output), -1, side, side)
    return None


def _parts(body: nn.Module) -> list[nn.Module]:
    parts = _with_parameters(body)
    while len(parts) == 1 and (inner := _with_parameters(parts[0])):  # a single container
        parts = inner
    return [part for child in parts for part in _unpacked(child)]


def _unpacked(module: nn.Module) -> Iterator[nn.Module]:
    names = [name for name, _ in module.named_children()]
    # Tracing loses the types, but the children of a sequence have numbers as names.
    if isinstance(module, nn.Sequential) or (names and all(name.isdigit() for name in names)):
        for child in _with_parameters(module):
            yield from _unpacked(child)
    else:
        yield module


def _with_parameters(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if next(child.parameters(), None) is not None]


def _unknown(library: str, model: str, known: Iterable[str]) -> ModelError:
    near = ", ".join(difflib.get_close_matches(model, known, 5)) or f"none; see the models of {library}"
    return ModelError(f"encoder '{library}/{model}' is unknown to {library}; similar names: {near}")


def _timm(model: str, weights: str) -> tuple[nn.Module, Meta]:
    if model in LITE_VARIANTS:
        return _lite(model, weights)
    import timm

    if not timm.is_model(model):
        raise _unknown("timm", model, timm.list_models())
    file = _weights_file(f"timm/{model}", weights)
    body = timm.create_model(model, pretrained=weights == "default" and file is None)
    if file is not None:
        _load(body, file)
    config: dict[str, Any] = vars(body)["pretrained_cfg"]
    return body, Meta(config["input_size"][1], config["mean"], config["std"], config["interpolation"])


def _lite(model: str, weights: str) -> tuple[nn.Module, Meta]:
    """Those networks of timm that are in :mod:`wordgaze.vision.efficientnet_lite`."""
    variant = LITE_VARIANTS[model]
    body = EfficientNetLite(variant)
    if (file := _weights_file(f"timm/{model}", weights)) is not None:
        _load(body, file)
    return body, Meta(variant.image_size, LITE_MEAN, LITE_STD, LITE_INTERPOLATION)


def _torchvision(model: str, weights: str) -> tuple[nn.Module, Meta]:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise _unknown("torchvision", model, known)
    default = torchvision.models.get_model_weights(model).DEFAULT
    file = _weights_file(f"torchvision/{model}", weights)
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # about the initialisation of random weights
        body: Any = torchvision.models.get_model(
            model, weights=default if weights == "default" and file is None else None
        )
    if hasattr(body, "transform_input"):
        body.transform_input = True  # as for the stored weights, which expect another normalisation
    if file is not None:
        _load(body, file)
    transform = default.transforms()
    return body, Meta(transform.crop_size[0], transform.mean, transform.std, transform.interpolation.value)


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision}


def _weights_file(name: str, weights: str) -> Path | None:
    if weights == "random":
        return None
    if weights != "default":
        if not Path(weights).is_file():
            raise ModelError(f"features.weights: {weights} does not exist; give default, random or a weights file")
        return Path(weights)
    if name not in PACKAGED:
        return None
    return packaged_file(name, ", or set features.weights to random or a local file")


def _load(body: nn.Module, file: Path) -> None:
    """Loads tensors by name, or by order and shape if another library has other names for the same layers."""
    try:
        body.load_state_dict(read_weights(file, body.state_dict()))
    except Exception as error:  # the readers of safetensors, zip and pickle raise various exceptions
        raise ModelError(f"{file} has no weights for {type(body).__name__}: {one_line(error)}") from error
