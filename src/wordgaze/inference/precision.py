"""How the weights of a captioner are stored: in fp32, in fp16, or in int8 with one scale per row.

With int8 every large matrix is rounded to 255 steps between the greatest and the least value of each of its rows, so it
takes a quarter of the space. It is read as fp32, in which everything is computed.
"""

from typing import Literal

import torch
from torch import Tensor

from wordgaze.core.errors import ModelError

WeightsDtype = Literal["fp32", "fp16", "int8"]

MIN_QUANTISED = 4096
"""Smaller tensors stay as they are: they save nothing, and some are statistics that must be exact."""

_SCALE = ".row_scale"  # the name of a matrix's scales is its own with this suffix


def narrowed(state: dict[str, Tensor], dtype: WeightsDtype) -> dict[str, Tensor]:
    """The tensors of a captioner folder as ``dtype`` stores them.

    fp16 applies to the floating-point tensors of decoder and encoder, int8 to all large matrices; the others keep their
    dtypes. Raises ModelError for a value that the dtype cannot hold.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        narrow = _narrowed(name, tensor, dtype)
        if not torch.equal(_widened(*narrow).isfinite(), tensor.isfinite()):
            raise ModelError(f"{name} has values that {dtype} cannot hold; give --dtype fp32")
        stored[name] = narrow[0]
        if narrow[1] is not None:
            stored[f"{name}{_SCALE}"] = narrow[1]
    return stored


def widened(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undoes :func:`narrowed`, up to rounding: the weights in fp32, and the other tensors as they were.

    Raises ValueError for a matrix in int8 without the scales of its rows, and for scales of no such matrix.
    """
    scales = {name.removesuffix(_SCALE): tensor for name, tensor in state.items() if name.endswith(_SCALE)}
    matrices = {name: tensor for name, tensor in state.items() if not name.endswith(_SCALE)}
    for name in sorted({name for name, tensor in matrices.items() if tensor.dtype == torch.int8} | scales.keys()):
        rows = matrices[name].shape[:1] if name in matrices else torch.Size()
        if name not in scales or scales[name].shape != rows or matrices[name].dtype != torch.int8:
            raise ValueError(f"{name} in int8 does not have one {_SCALE.strip('.')} for each of its rows")
    wide = {name: _widened(tensor, scales.get(name)) for name, tensor in matrices.items()}
    return {name: tensor.float() if _is_weight(name, tensor) else tensor for name, tensor in wide.items()}


def _narrowed(name: str, tensor: Tensor, dtype: WeightsDtype) -> tuple[Tensor, Tensor | None]:
    """The stored tensor, and the scales of its rows if it is quantised."""
    if dtype == "fp16" and _is_weight(name, tensor):
        return tensor.half(), None
    if dtype != "int8" or not tensor.is_floating_point() or tensor.dim() < 2 or tensor.numel() < MIN_QUANTISED:
        return tensor, None
    rows = tensor.float().flatten(1)
    scale = rows.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (rows / scale.unsqueeze(1)).round().to(torch.int8).view_as(tensor), scale


def _widened(tensor: Tensor, scale: Tensor | None) -> Tensor:
    return tensor if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))


def _is_weight(name: str, tensor: Tensor) -> bool:
    """Whether it is a floating-point tensor of decoder or encoder: the parts choose their own dtypes."""
    return name.startswith(("decoder.", "encoder.")) and tensor.is_floating_point()
