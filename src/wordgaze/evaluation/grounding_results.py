"""Typed results of grounding: whether the attention of words lies on the objects that they name."""

from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

from wordgaze.evaluation.result_types import ConfidenceInterval, OptionalValue, Result

T = TypeVar("T")


class ByAttention(Result, Generic[T]):
    """One value for the captioner's attention and for each of three that do not depend on the word."""

    attention: T
    uniform: T
    centre: T
    shuffled: T


class ByGrounding(Result, Generic[T]):
    """The two measures of grounding: the pointing game (Zhang et al. 2016) and the attention mass inside the boxes."""

    pointing: ByAttention[T]
    mass: ByAttention[T]

    @classmethod
    def from_metric(cls, values: Mapping[str, Any]) -> Self:
        """From the names of :class:`wordgaze.metrics.grounding.Grounding`: ``pointing``, ``pointing_uniform``, …"""
        return cls.model_validate(
            {
                measure: {
                    kind: values[measure if kind == "attention" else f"{measure}_{kind}"]
                    for kind in ByAttention.model_fields
                }
                for measure in ByGrounding.model_fields
            }
            | {name: values.get(name) for name in cls.model_fields.keys() - ByGrounding.model_fields.keys()}
        )


class GroundingScores(ByGrounding[OptionalValue]):
    """Grounding scores in 0…1; None where no word was measured.

    ``elsewhere`` is the share of the attention that lies on no cell, but on a sentinel or outside a local-p window. The
    two measures are relative to the rest.
    """

    elsewhere: OptionalValue = None

    @property
    def is_partial(self) -> bool:
        """Whether ``elsewhere`` is more than rounding: at least a thousandth."""
        return self.elsewhere is not None and self.elsewhere >= 1e-3


class GroundingIntervals(ByGrounding[ConfidenceInterval]):
    """The confidence interval of each grounding score."""


class NounGrounding(Result):
    """The grounding of the words that name one kind of object."""

    num_words: int
    pointing: OptionalValue
    mass: OptionalValue


class GroundingDetails(Result):
    """How many words were measured, the intervals of their scores, and the scores of each noun."""

    num_words: int
    intervals: GroundingIntervals
    nouns: dict[str, NounGrounding]


class GroundingResult(Result):
    """Grounding of captions of a user's images: what ``wordgaze ground`` measures."""

    num_images: int
    num_words: int
    scores: GroundingScores
    intervals: GroundingIntervals
