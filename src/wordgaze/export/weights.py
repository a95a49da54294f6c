"""How the weights are stored in an ONNX graph: in fp32, in fp16, or in int8 with one scale per row of a matrix.

The graph widens them when it is loaded and computes in single precision, so it is smaller and as exact as the stored
numbers. The rounding to int8 is that of :mod:`wordgaze.inference.precision`: a decoder that is stored in int8 loses
nothing. Matrices of fewer than 2^17 numbers, those of an encoder's first layers, are stored in fp16 instead: in the
encoder of ``photos`` they are a third of the weights and cause nine tenths of the error.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ModelError
from wordgaze.inference.exported_folder import ExportedDtype

MIN_NARROWED = 2**12
"""Smaller tensors stay as they are: they save nothing."""

MIN_INT8 = 2**17
"""Smaller matrices are stored in fp16."""


def narrow_graph(path: Path, dtype: ExportedDtype) -> None:
    """Stores the weights of an ONNX file as ``dtype``. Raises ModelError for weights that it cannot hold."""
    import onnx

    if dtype == "fp32":
        return
    model = onnx.load(path)
    added: list[Any] = []
    kept: list[Any] = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_NARROWED:
            kept.append(tensor)
            continue
        own = "fp16" if values.ndim < 2 or values.size < MIN_INT8 else dtype
        node, stored = _narrowed(tensor.name, values, own, _row_axis(tensor.name, model.graph.node))
        added.append(node)
        kept += stored
    nodes = [*added, *model.graph.node]
    for field, items in ((model.graph.initializer, kept), (model.graph.node, nodes)):
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del field[:]
        field.extend(copies)
    onnx.save(model, path)


def _narrowed(name: str, values: npt.NDArray[np.float32], dtype: ExportedDtype, axis: int) -> tuple[Any, list[Any]]:
    """The node that widens a tensor, and what is stored of it."""
    from onnx import TensorProto, helper, numpy_helper

    if dtype == "fp16":
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise ModelError(f"{name} has values that fp16 cannot hold; give --dtype fp32")
        node = helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)
        return node, [numpy_helper.from_array(half, f"{name}.half")]
    others = tuple(i for i in range(values.ndim) if i != axis)
    greatest = np.abs(values).max(axis=others, keepdims=True)
    scale = np.maximum(greatest, np.finfo(np.float32).tiny) / np.float32(127)
    rounded = np.rint(values / scale).astype(np.int8)
    node = helper.make_node("DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [name], axis=axis)
    stored = [(rounded, f"{name}.int8"), (scale.reshape(-1), f"{name}.scale")]
    return node, [numpy_helper.from_array(array, label) for array, label in stored]


def _row_axis(name: str, nodes: Iterable[Any]) -> int:
    """The axis of a weight that its outputs lie along: the rows of the matrix that PyTorch stores."""
    for node in nodes:
        if name in list(node.input)[1:2]:
            is_transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
            return 1 if node.op_type in ("Gemm", "MatMul") and not is_transposed else 0
    return 0
