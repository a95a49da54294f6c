"""The gate: whether a challenger is better than the champion on the gate set, and in nothing guarded worse."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from wordgaze.config.params import GateParams
from wordgaze.core.errors import TrackingError
from wordgaze.evaluation.comparison import Comparison
from wordgaze.evaluation.result_types import SCORE_LABELS, OptionalValue, Result
from wordgaze.evaluation.results import ScoreDifference
from wordgaze.metrics.failures import repeats
from wordgaze.tracking.gate_captions import Candidate, gate_captions, seconds_per_image
from wordgaze.tracking.gate_data import GateData

MIN_GATE_IMAGES = 30
"""The fewest images for a comparison: the bootstrap of fewer finds differences that are not there."""

_log = logging.getLogger(__name__)
_CHALLENGER, _CHAMPION = "challenger", "champion"
_LEAST_RESAMPLES = 1000
GUARDED = {
    "length": "words per caption",
    "hallucination": "share that names an absent object",
    "repetition": "share that repeats itself",
    "latency": "seconds per image",
    "size": "megabytes",
}
"""What is guarded, with its unit; the keys are those of ``tracking.gate.tolerances``."""


class GateRow(Result):
    """A row of the table of a decision: a score, or what is guarded. ``champion`` is None for a first champion.

    ``low`` and ``high`` are the 95 % interval of the challenger's score. ``change`` is the challenger's value minus the
    champion's, ``change_low`` and ``change_high`` its 95 % interval, and ``p`` the two-sided p-value of the paired
    bootstrap. ``passed`` is None for a score that does not decide.
    """

    name: str
    champion: OptionalValue = None
    challenger: OptionalValue
    low: OptionalValue = None
    high: OptionalValue = None
    change: OptionalValue = None
    change_low: OptionalValue = None
    change_high: OptionalValue = None
    p: OptionalValue = None
    passed: bool | None = None

    @property
    def label(self) -> str:
        """The name for a reader."""
        return SCORE_LABELS.get(self.name) or f"{self.name} ({GUARDED[self.name]})"


class GateResult(Result):
    """The table of a comparison, and why the challenger fails: nothing if it passes. ``gain`` tells the decisive
    difference in a clause."""

    rows: tuple[GateRow, ...]
    failures: tuple[str, ...]
    gain: str


def pass_gate(challenger: Candidate, champion: Candidate | None, data: GateData, settings: GateParams) -> GateResult:
    """Decodes both on the gate set, by the settings that each ships with, and compares them.

    A first champion has only to reach ``minimum``. Raises TrackingError for a metric that the data do not define and,
    where there is a champion, for a gate set that is too small.
    """
    if champion is not None and len(data.images) < MIN_GATE_IMAGES:
        raise TrackingError(
            f"the gate set {data.identity.name} has {len(data.images)} images, a comparison needs {MIN_GATE_IMAGES};"
            " give a larger one with --data, or promote with --force --reason TEXT"
        )
    candidates = [challenger] if champion is None else [challenger, champion]
    comparison = _GateComparison(candidates, data, settings)
    scores, guarded = tuple(comparison.scores()), tuple(comparison.guarded())
    decisive = next((row for row in scores if row.name == settings.metric), None)
    if decisive is None:
        raise TrackingError(
            f"{settings.metric} is not defined for the gate set {data.identity.name} (METEOR needs nltk and English);"
            " set --metric to another"
        )
    failures = [*_shortfalls(decisive, settings), *(_fall(row) for row in guarded if row.passed is False)]
    return GateResult(rows=(*scores, *guarded), failures=tuple(failures), gain=_gain(decisive))


def _shortfalls(row: GateRow, settings: GateParams) -> Iterator[str]:
    """Why the score of the metric does not suffice."""
    if row.challenger is None or row.challenger < settings.minimum:
        yield f"{row.label} is {_number(row.challenger)}, and tracking.gate.minimum is {settings.minimum:g}"
    if row.champion is not None and not row.passed:
        yield f"it is not better at a confidence of {settings.confidence:g}: {_gain(row)}"


def _gain(row: GateRow) -> str:
    if row.champion is None:
        return f"{row.label} {_number(row.challenger)}, and no champion to compare with"
    interval = f"[{_signed(row.change_low)}, {_signed(row.change_high)}]"
    scores = f"{row.label} {_number(row.challenger)} against {_number(row.champion)}"
    return f"{scores}, difference {_signed(row.change)} {interval}, p = {_number(row.p)}"


def _fall(row: GateRow) -> str:
    return f"{row.label} goes from {_number(row.champion)} to {_number(row.challenger)}, beyond its tolerance"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


@dataclass(frozen=True)
class _GateComparison:
    """``candidates`` are the challenger and, where there is one, the champion."""

    candidates: Sequence[Candidate]
    data: GateData
    settings: GateParams

    @cached_property
    def _tokens(self) -> list[list[list[str]]]:
        captions = [gate_captions(candidate, self.data) for candidate in self.candidates]
        return [[self.data.tokenizer.tokenize(text) for text in of_one] for of_one in captions]

    def scores(self) -> Iterator[GateRow]:
        """A row per score. That of the metric passes if its difference is positive and significant."""
        # twenty resamples beyond the level: the p-value has to be able to fall below it
        resamples = max(_LEAST_RESAMPLES, math.ceil(40 / (1 - self.settings.confidence)))
        systems = dict(zip((_CHALLENGER, _CHAMPION), self._tokens, strict=False))
        _log.info("computing the scores, with %s resamples for their intervals", f"{resamples:,}")
        comparison = Comparison(systems, self.data.references, resamples, is_english=self.data.tokenizer.is_english)
        scores, intervals = comparison.scores(), dict(comparison.intervals()[_CHALLENGER].items())
        champion = dict(scores[_CHAMPION].items()) if _CHAMPION in scores else {}
        pairs = comparison.differences(_CHAMPION, [_CHALLENGER]) if champion else ()
        differences = dict(pairs[0].differences.items()) if pairs else {}
        for name, value in scores[_CHALLENGER].items():
            row = GateRow(name=name, challenger=value, low=intervals[name].low, high=intervals[name].high)
            if name in differences:
                row = self._compared(row, champion[name], differences[name])
            yield row

    def _compared(self, row: GateRow, champion: float, difference: ScoreDifference) -> GateRow:
        value, p = difference.value, difference.p
        is_better = value is not None and value > 0 and p is not None and p <= 1 - self.settings.confidence + 1e-9
        return row.model_copy(
            update={
                "champion": champion,
                "change": value,
                "change_low": difference.low,
                "change_high": difference.high,
                "p": p,
                "passed": is_better if row.name == self.settings.metric else None,
            }
        )

    def guarded(self) -> Iterator[GateRow]:
        """A row for each thing that is guarded. What is not defined for the data passes."""
        tolerances = self.settings.tolerances.model_dump()
        _log.info("measuring the time per image")
        values = {
            "length": [sum(map(len, tokens)) / len(tokens) for tokens in self._tokens],
            "hallucination": self._hallucination(),
            "repetition": [sum(map(repeats, tokens)) / len(tokens) for tokens in self._tokens],
            "latency": seconds_per_image(self.candidates, self.data),
            "size": [candidate.num_bytes / 1e6 for candidate in self.candidates],
        }
        for name, (challenger, *others) in values.items():
            champion = others[0] if others else None
            row = GateRow(name=name, challenger=challenger, champion=champion)
            if row.champion is not None and row.challenger is not None:
                passed = _is_tolerable(name, row.challenger, row.champion, tolerances[name])
                row = row.model_copy(update={"change": row.challenger - row.champion, "passed": passed})
            yield row

    def _hallucination(self) -> list[float]:
        chair = self.data.chair
        if chair is None:
            return [math.nan] * len(self.candidates)
        return [float(chair.scores(chair.statistics(tokens).sum(0))["chair_s"]) for tokens in self._tokens]


def _is_tolerable(name: str, challenger: float, champion: float, tolerance: float) -> bool:
    """Lengths may change in both directions; the other values may rise, the relative ones by a share."""
    change = challenger - champion
    if name == "length":
        return abs(change) <= tolerance * champion + 1e-9
    return change <= (tolerance * champion if name in ("latency", "size") else tolerance) + 1e-9
