"""Writes the graphs of a captioner with the exporter of PyTorch, and compares each with the module it comes from."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wordgaze.core.errors import ModelError
from wordgaze.export.graphs import EncoderGraph, InitGraph, StepGraph
from wordgaze.inference.folder_names import ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH
from wordgaze.models.decoder import Decoder
from wordgaze.models.kernels import reference
from wordgaze.vision.encoders import Encoder

OPSET = 18
TOLERANCE = 1e-3
"""The largest deviation of a graph's outputs, relative to the greatest value: an error of the exporter is larger."""

_BATCH, _BEAM = 2, 3  # of the example; the exporter takes a dimension of 1 for a constant


def write_graphs(folder: Path, encoder: Encoder, decoder: Decoder) -> None:
    """Writes the three graphs into ``folder``. Raises ModelError if the exporter fails or gets a graph wrong."""
    side = encoder.spec.image_size
    pixels = torch.arange(_BATCH * 3 * side**2).mul(2654435761).bitwise_right_shift(7).remainder(256)
    with torch.no_grad(), reference():
        inputs = (pixels.to(torch.uint8).view(_BATCH, 3, side, side),)
        features = _write(folder / ENCODER_GRAPH, EncoderGraph(encoder), inputs, ["pixels"], ["features"])
    write_decoder(folder, decoder, features[0])


def write_decoder(folder: Path, decoder: Decoder, features: Tensor) -> None:
    """Writes the two graphs of a decoder, with the features (2, L, C) of two images as the example."""
    with torch.no_grad(), reference():
        init = InitGraph(decoder)
        outputs = _write(folder / INIT_GRAPH, init, (features,), ["features"], init.output_names)
        step = StepGraph(decoder)
        memory = outputs[: init.num_memory]
        states = [state.expand(-1, _BEAM, -1).contiguous() for state in outputs[init.num_memory :]]
        words = torch.arange(_BATCH * _BEAM).view(_BATCH, _BEAM).remainder(decoder.vocabulary_size)
        step_inputs = (words, torch.ones(1), *memory, *states)
        _write(folder / STEP_GRAPH, step, step_inputs, step.input_names, step.output_names)


def _write(
    path: Path, module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], outputs: Sequence[str]
) -> list[Tensor]:
    """Writes one graph and returns the outputs of the module for the inputs."""
    module.eval()
    try:
        with warnings.catch_warnings(action="ignore"):  # the exporter warns of what its own code does
            torch.onnx.export(
                module,
                inputs,
                path,
                input_names=list(names),
                output_names=list(outputs),
                dynamic_shapes=_dynamic(module, inputs, names),
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever part of a network the exporter does not know
        raise ModelError(f"{path.stem} cannot be exported to ONNX ({_first_lines(error)}); use another one") from error
    expected = module(*inputs)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    _compare(path, inputs, names, expected)
    return expected


def _dynamic(module: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> Any:
    """The free dimensions: the batch of all inputs, and the number of hypotheses of words and states."""
    batch, beam = torch.export.Dim("batch"), torch.export.Dim("beam")
    if not isinstance(module, StepGraph):
        return ({0: batch},)
    rest = [{0: batch, 1: beam} if name in module.state_names else {0: batch} for name in names[2:]]
    return ({0: batch, 1: beam}, None, tuple(rest))


def _compare(path: Path, inputs: Sequence[Tensor], names: Sequence[str], expected: Sequence[Tensor]) -> None:
    """Raises ModelError unless ONNX Runtime computes the same from one image as PyTorch from the batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    given = {
        name: (tensor if name == "step" else tensor[:1]).numpy() for name, tensor in zip(names, inputs, strict=True)
    }
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        actual = session.run(None, given)
    except Exception as error:
        raise ModelError(f"{path.stem} was exported wrongly ({_first_lines(error)}); use another one") from error
    for output, wanted in zip(actual, expected, strict=True):
        if output.shape != wanted[:1].shape:
            raise ModelError(f"{path.stem} was exported wrongly: {output.shape} instead of {tuple(wanted[:1].shape)}")
        deviation = float((torch.from_numpy(output) - wanted[:1]).abs().max() / wanted.abs().max().clamp(min=1e-6))
        if not deviation <= TOLERANCE:
            raise ModelError(
                f"{path.stem} was exported wrongly: its outputs differ by {deviation:.1%}; use another one"
            )


def _first_lines(error: Exception) -> str:
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
