"""What the typed results of an evaluation have in common: how numbers are written, and values by score.

In JSON, numbers are rounded to six decimal places. A score that is not defined is None (``null``); a metric gives NaN
for it.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json
from wordgaze.core.settings import problem

DECIMALS = 6
SCORE_LABELS = {
    "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L",
    "meteor": "METEOR", "meteor_toolkit": "METEOR (toolkit)", "cider": "CIDEr", "spice_toolkit": "SPICE (toolkit)",
}  # fmt: skip
"""The fields of :class:`ByScore` with the names that papers give the scores, in the order of a table's columns."""

T = TypeVar("T")


def none_if_nan(value: Any) -> Any:
    """None instead of the NaN of a metric."""
    return None if isinstance(value, float) and math.isnan(value) else value


def is_none(value: Any) -> bool:
    """Whether a field is left out of the JSON."""
    return value is None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


Value = Annotated[float, PlainSerializer(_rounded, when_used="json")]
"""A number that is always defined."""

OptionalValue = Annotated[
    float | None, BeforeValidator(none_if_nan), PlainSerializer(_rounded, when_used="json")
]  # fmt: skip
"""A number, or None where the metric gives NaN."""


class Result(BaseModel):
    """Base of the results: immutable, without unknown fields, written as JSON and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def save(self, path: Path) -> None:
        """Writes the result as JSON, atomically; equal results give equal bytes."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what :meth:`save` wrote. Raises DataError where the file is missing or has another layout."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); run dvc repro first") from error
        except ValidationError as error:
            first = problem(error.errors(include_url=False)[0])
            raise DataError(
                f"{path} is not a valid {cls.__name__} of this version of wordgaze ({first}); "
                "write it again with `dvc repro -f -s evaluate`"
            ) from error


class ByScore(Result, Generic[T]):
    """One value for each score of captions. ``meteor`` is None where nltk is missing, ``meteor_toolkit`` where its
    tables (pycocoevalcap) are, and in the report of a pipeline, and ``spice_toolkit`` where it was not asked for."""

    bleu_1: T
    bleu_2: T
    bleu_3: T
    bleu_4: T
    rouge_l: T
    meteor: Annotated[T | None, BeforeValidator(none_if_nan)] = None
    meteor_toolkit: T | None = Field(None, exclude_if=is_none)
    cider: T
    spice_toolkit: T | None = Field(None, exclude_if=is_none)

    def items(self) -> Iterator[tuple[str, T]]:
        """The fields' names and values in the order of SCORE_LABELS, without those that are None."""
        for name in SCORE_LABELS:
            value = getattr(self, name)
            if value is not None:
                yield name, value


class ConfidenceInterval(Result):
    """The 95 % percentile interval of a bootstrap over the images; None where no resample defines the score."""

    low: OptionalValue
    high: OptionalValue
