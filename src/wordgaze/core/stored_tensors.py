"""Checks of tensors that were read from a file, before anything is computed with them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CHECKED = 2**20  # values


def checked_tensors(tensors: "Mapping[str, Tensor]", shapes: Mapping[str, str], **sizes: int) -> "list[Tensor]":
    """The tensors that ``shapes`` names, in its order, such as ``{"mean": "C", "vectors": "M C", "outliers": "3"}``.

    A dimension is a number, a name of ``sizes``, or a name that stands for one size in all of the shapes. Raises
    KeyError if a tensor is missing, and ValueError for another shape and for a value that is not finite. Values of more
    than a million are not looked at, which would take longer than loading them.
    """
    for name, shape in shapes.items():
        tensor, dimensions = tensors[name], shape.split()
        expected = [int(d) if d.isdigit() else sizes.get(d) for d in dimensions]
        if tensor.dim() != len(expected) or any(
            size not in (None, actual) for size, actual in zip(expected, tensor.shape, strict=True)
        ):
            wanted = [d if size is None else size for d, size in zip(dimensions, expected, strict=True)]
            raise ValueError(f"{name} has the shape {list(tensor.shape)}, not [{', '.join(map(str, wanted))}]")
        sizes |= {d: actual for d, actual in zip(dimensions, tensor.shape, strict=True) if not d.isdigit()}
        if tensor.is_floating_point() and tensor.numel() <= _CHECKED and not tensor.isfinite().all():
            raise ValueError(f"{name} has a value that is not a finite number")
    return [tensors[name] for name in shapes]


def checked_ids(name: str, ids: "Tensor", size: int) -> "Tensor":
    """Token ids for a vocabulary of ``size`` words. Raises ValueError for numbers that are not such ids."""
    if ids.is_floating_point() or ids.is_complex():
        raise ValueError(f"{name} has the dtype {ids.dtype}, not that of token ids")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(f"{name} has a token id outside the vocabulary of {size} words")
    return ids
