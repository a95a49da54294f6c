"""The base of all settings: frozen, typed models that refuse unknown keys and report all errors in one message."""

import json
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


_MAX_SHOWN = 200  # characters
_MAX_MESSAGE = 600  # characters
_MAX_BITS = 1000  # of an integer


class Settings(BaseModel):
    """A group of settings. It is immutable, an unknown key is an error, and values are never converted implicitly."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problems_of(error: ValidationError) -> str:
    """Every problem of a failed validation in one line, each with its dotted key."""
    return "; ".join(problem(each) for each in error.errors(include_url=False))


def key_of(details: "ErrorDetails") -> str:
    """The dotted key of one problem, empty for the whole."""
    return ".".join(str(part) for part in details["loc"])[:_MAX_SHOWN]


def problem(details: "ErrorDetails") -> str:
    """One problem with its dotted key."""
    key = key_of(details)
    if details["type"] == "extra_forbidden":
        return f"{key} is not a parameter"
    if details["type"] == "missing":
        return f"{key} is missing"
    if details["type"] == "json_invalid":
        return f"it is not JSON: {details['ctx']['error']}"
    if details["type"] == "value_error":  # of several settings together: the message names them
        return f"{key}: {_own_message(details)}" if key else _own_message(details)
    return f"{key or 'the whole'} {requirement(details)}"


def requirement(details: "ErrorDetails") -> str:
    """What a value must be, and what it is: "must be at least 1, not 0"."""
    if details["type"] == "value_error":
        return f"is not valid: {_own_message(details)}"
    expected = _EXPECTED.get(details["type"], str(details["msg"]).removeprefix("Input should be "))
    if details["type"] in ("literal_error", "enum"):
        expected = details["ctx"]["expected"].replace("'", "")
    elif details["type"] in _BOUNDS:
        expected = f"{_BOUNDS[details['type']]} {next(iter(details['ctx'].values()))}"
    elif details["type"] == "string_pattern_mismatch":
        expected = f"a text of the form {details['ctx']['pattern']}"
    return f"must be {expected}, not {_shown(details['input'])}"


_INTEGER, _NUMBER, _BOOL, _MAPPING = "an integer", "a number", "true or false", "a mapping"
_EXPECTED = {
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_from_float": _INTEGER,
    "int_parsing_size": "an integer of fewer digits",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
}
"""What pydantic expects, by the type of its error, where its own words are not those of YAML and JSON."""

_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _own_message(details: "ErrorDetails") -> str:
    """The message of a validator, which may name a value of any length, in one line of limited length."""
    text = " ".join(str(details["msg"]).removeprefix("Value error, ").split())
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE // 2]} … {text[-_MAX_MESSAGE // 2 :]}"


def _shown(value: object) -> str:
    """A value as in YAML and JSON, at most one line of it."""
    if isinstance(value, bool | None):
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:  # which Python does not print
        return f"an integer of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
