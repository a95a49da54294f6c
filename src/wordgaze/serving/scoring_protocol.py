"""The protocol of MLflow's scoring server: the JSON of ``POST /invocations``."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from wordgaze.core.errors import ParamsError
from wordgaze.core.printable import reason_of

# JSON has no line breaks in its texts. The tool base64 writes them, and outside of texts a blank means the same.
_BLANKS = bytes.maketrans(b"\n\r\t", b"   ")
_EXAMPLE = '{"dataframe_records": [{"image": BASE64}]}'


def read_request(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; numbers are finite. Raises ParamsError, which never repeats what was sent.

    Line breaks within texts, which JSON does not allow, become blanks, so that the output of ``base64`` is accepted.
    """
    try:
        document = json.loads(body.translate(_BLANKS), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"the request is not valid JSON ({reason_of(error)}); send {_EXAMPLE}") from None
    if not isinstance(document, dict):
        kind = "a list" if isinstance(document, list) else "another value"
        raise ParamsError(f"the request must be a JSON object such as {_EXAMPLE}. Received {kind}")
    return document


def parse_invocation(document: Mapping[str, Any]) -> tuple[list[object], dict[str, Any]]:
    """The images of a request, as they were sent, and its ``params``. Raises ParamsError."""
    given = sorted(_FORMATS.keys() & document.keys())
    if len(given) != 1:
        raise ParamsError(
            f"the request must have one of {', '.join(_FORMATS)}, and has {', '.join(given) or 'none'}; send {_EXAMPLE}"
        )
    params = document.get("params")
    if not isinstance(params, dict | None):
        raise ParamsError('params must be a JSON object such as {"num_beams": 3}')
    return _FORMATS[given[0]](document[given[0]]), params or {}


def _records(value: object) -> list[object]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ParamsError(f"dataframe_records must be a list of JSON objects; send {_EXAMPLE}")
    return [_image_of(row) for row in value]


def _split(value: object) -> list[object]:
    columns, data = (value.get("columns"), value.get("data")) if isinstance(value, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise ParamsError('dataframe_split must be an object such as {"columns": ["image"], "data": [[BASE64]]}')
    if "image" not in columns:
        raise _missing()
    place = columns.index("image")
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        raise ParamsError("dataframe_split has a row that has not one value for each column; give each row all values")
    return [row[place] for row in data]


def _instances(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ParamsError('instances must be a list; send {"instances": [{"image": BASE64}]}')
    return [_image_of(row) if isinstance(row, dict) else row for row in value]


def _inputs(value: object) -> list[object]:
    images = _image_of(value) if isinstance(value, dict) else value
    return _instances(images) if isinstance(images, list) else [images]


def _image_of(row: Mapping[str, object]) -> object:
    if "image" not in row:
        raise _missing()
    return row["image"]


_FORMATS: dict[str, Callable[[object], list[object]]] = {
    "dataframe_records": _records,
    "dataframe_split": _split,
    "instances": _instances,
    "inputs": _inputs,
}


def _missing() -> ParamsError:
    return ParamsError(f"Model is missing inputs ['image']; send {_EXAMPLE}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
