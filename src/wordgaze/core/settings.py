"""The base of all settings: frozen, typed models that refuse unknown keys and report all errors in one message."""

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


_MAX_SHOWN = 200  # characters


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
    if not key and details["type"] == "value_error":  # of several settings together: the message names them
        return str(details["msg"]).removeprefix("Value error, ")
    key = key or "the whole"
    message = str(details["msg"]).removeprefix("Value error, ")
    return (
        f"{key}: {message}" if details["type"] == "value_error" else f"{key}: {message}, got {_shown(details['input'])}"
    )


def _shown(value: object) -> str:
    """A value, at most one line of it."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
