"""Weights take less space in a graph, and are the numbers that the captioner's own formats have."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from wordgaze.core.errors import ModelError
from wordgaze.export.weights import narrow_graph
from wordgaze.inference.exported_folder import ExportedDtype
from wordgaze.inference.precision import narrowed, widened

onnx = pytest.importorskip("onnx", reason='the extra "export" is not installed')
ort = pytest.importorskip("onnxruntime", reason='the extra "export" is not installed')

ROWS, COLUMNS = 512, 300


def matrix(scale: float = 1.0) -> npt.NDArray[np.float32]:
    return scale * np.random.default_rng(5).standard_normal((ROWS, COLUMNS), np.float32)


def write(path: Path, weight: npt.NDArray[np.float32], transposed: bool) -> None:
    """x W^T, with W as PyTorch stores it, or transposed as the exporter may store it."""
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    product = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]) if transposed else product]
    stored = np.ascontiguousarray(weight.T) if transposed else weight
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", real, [None, COLUMNS])],
        [helper.make_tensor_value_info("y", real, [None, ROWS])],
        [onnx.numpy_helper.from_array(stored, "w"), onnx.numpy_helper.from_array(np.ones(3, np.int64), "whole")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("dtype", "share"), [("fp32", 1.0), ("fp16", 0.5), ("int8", 0.2535)])
def test_the_graph_computes_with_the_rounded_weights(
    tmp_path: Path, dtype: ExportedDtype, share: float, transposed: bool
) -> None:
    weight = matrix()
    write(tmp_path / "graph.onnx", weight, transposed)
    narrow_graph(tmp_path / "graph.onnx", dtype)
    assert (tmp_path / "graph.onnx").stat().st_size == pytest.approx(share * weight.nbytes, rel=0.02)
    x = np.eye(COLUMNS, dtype=np.float32)
    [output] = ort.InferenceSession(tmp_path / "graph.onnx").run(None, {"x": x})
    rounded = widened(narrowed({"decoder.w": torch.from_numpy(weight)}, dtype))["decoder.w"].numpy()
    np.testing.assert_allclose(output.T, rounded, atol=1e-6)


def test_a_small_matrix_is_stored_in_fp16_instead_of_int8(tmp_path: Path) -> None:
    weight = matrix()[:100]
    write(tmp_path / "graph.onnx", weight, False)
    narrow_graph(tmp_path / "graph.onnx", "int8")
    assert (tmp_path / "graph.onnx").stat().st_size == pytest.approx(weight.nbytes / 2, rel=0.02)


def test_weights_that_fp16_cannot_hold_are_told(tmp_path: Path) -> None:
    write(tmp_path / "graph.onnx", matrix(1e5), False)
    with pytest.raises(ModelError, match="w has values that fp16 cannot hold; give --dtype fp32"):
        narrow_graph(tmp_path / "graph.onnx", "fp16")
