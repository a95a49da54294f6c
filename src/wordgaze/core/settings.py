"""What all settings have in common: frozen and typed, unknown keys refused, every error in one message."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """A group of settings. Immutable; an unknown key is an error; values are not converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problems_of(error: ValidationError) -> str:
    """Every problem of a failed validation in one line, each with its dotted key."""
    return "; ".join(_problem(dict(each)) for each in error.errors(include_url=False))


def _problem(error: dict[str, object]) -> str:
    location = error["loc"]
    assert isinstance(location, tuple)
    key = ".".join(str(part) for part in location) or "params"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a parameter"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}, got {error['input']!r}" if error["type"] != "value_error" else f"{key}: {message}"
