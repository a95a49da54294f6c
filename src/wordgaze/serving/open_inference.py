"""The Open Inference Protocol, version 2, as KServe and Triton speak it: JSON over HTTP.

An inference request has one input, ``image``, of datatype BYTES: encoded images as base64. Its ``parameters`` are those
of ``POST /invocations``. The outputs are ``caption``, ``probability`` and, of captioners that have them, ``confidence``
and ``is_outlier``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wordgaze.core.errors import ParamsError
from wordgaze.generation.outputs import Caption

_EXAMPLE = '{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64]}]}'
_MAX_ID = 200  # characters


def parse_inference(document: Mapping[str, Any]) -> tuple[list[object], dict[str, Any]]:
    """The images of an inference request, as they were sent, and its parameters. Raises ParamsError."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ParamsError(f"inputs must be a list of one tensor; send {_EXAMPLE}")
    tensor, parameters = inputs[0], document.get("parameters") or {}
    data, shape = tensor.get("data"), tensor.get("shape")
    if tensor.get("name") != "image" or tensor.get("datatype") != "BYTES" or not isinstance(data, list):
        raise ParamsError(f"the input must have the name image, the datatype BYTES and a list as data; send {_EXAMPLE}")
    if shape not in ([len(data)], [len(data), 1]):
        raise ParamsError(f"the shape of the input is not [{len(data)}], the number of images in data; send {_EXAMPLE}")
    if not isinstance(parameters, dict):
        raise ParamsError('parameters must be a JSON object such as {"num_beams": 3}')
    return data, parameters


def inference_response(
    document: Mapping[str, Any], name: str, version: str, captions: Sequence[Sequence[Caption]]
) -> dict[str, Any]:
    """The answer with the best caption of each image."""
    best = [of_image[0] for of_image in captions]
    outputs = [
        _output("caption", "BYTES", [caption.text for caption in best]),
        _output("probability", "FP64", [caption.probability for caption in best]),
    ]
    confidences = [caption.confidence for caption in best if caption.confidence is not None]
    if best and len(confidences) == len(best):
        outputs.append(_output("confidence", "FP64", confidences))
        outputs.append(_output("is_outlier", "BOOL", [caption.is_outlier for caption in best]))
    given = document.get("id")
    own_id = {"id": given} if isinstance(given, str) and len(given) <= _MAX_ID else {}
    return {"model_name": name, "model_version": version, **own_id, "outputs": outputs}


def model_metadata(name: str, version: str) -> dict[str, Any]:
    """What ``GET /v2/models/NAME`` answers."""
    outputs = [("caption", "BYTES"), ("probability", "FP64"), ("confidence", "FP64"), ("is_outlier", "BOOL")]
    return {
        "name": name,
        "versions": [version],
        "platform": "wordgaze",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": output, "datatype": datatype, "shape": [-1]} for output, datatype in outputs],
    }


def _output(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
