"""Quantises an encoder to 8 bits: weights and feature maps, whose ranges are calibrated on images."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wordgaze.core.errors import DataError, ImageError
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.encoders import Encoder

MAX_CALIBRATION_IMAGES = 200
"""More images change the ranges of the feature maps little."""

MIN_CALIBRATED = 2**16
"""Convolutions with fewer weights compute in single precision. They are those of the first layers, whose errors all
others take over: with them in 8 bits too, the features of ``photos`` would be off by a standard deviation, instead of
by an eighth of one."""


def calibrate_encoder(path: Path, encoder: Encoder, images: Sequence[Path]) -> None:
    """Replaces the encoder's graph by one that computes convolutions in 8 bits, calibrated on the first 200 images.

    A weight has one scale per channel, a feature map one scale and zero point. Images that cannot be opened are left
    out; raises DataError if none can.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reader = _Reader(encoder, images[:MAX_CALIBRATION_IMAGES])
    prepared, quantised = path.with_suffix(".prepared.onnx"), path.with_suffix(".int8.onnx")
    root, silent = logging.getLogger(), logging.NullHandler()
    level = root.level
    with warnings.catch_warnings(action="ignore"):
        try:
            # The quantiser logs to the root logger, for which it makes a handler where there is none.
            root.addHandler(silent)
            root.setLevel(logging.ERROR)
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(quantised),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_small_convolutions(prepared),
            )
        except ValueError as error:
            if reader.used:
                raise
            raise DataError(
                f"none of the {len(images)} images for the calibration can be opened; give other ones"
            ) from error
        finally:
            root.setLevel(level)
            root.removeHandler(silent)
            prepared.unlink(missing_ok=True)
    quantised.replace(path)


def _small_convolutions(path: Path) -> list[str]:
    import onnx

    graph = onnx.load(path).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "Conv" and sizes.get(node.input[1], 0) < MIN_CALIBRATED]


class _Reader:
    """Gives the quantiser the pixels of one image at a time."""

    def __init__(self, encoder: Encoder, images: Sequence[Path]) -> None:
        self.used = 0
        self._inputs = self._read(encoder, images)

    def get_next(self) -> dict[str, Any] | None:
        """The next input of the graph; None at the end."""
        return next(self._inputs, None)

    def _read(self, encoder: Encoder, images: Sequence[Path]) -> Iterator[dict[str, Any]]:
        for path in images:
            try:
                image = decode_safely(path)
            except ImageError:
                continue
            self.used += 1
            yield {"pixels": encoder.pixels([image]).numpy()}
