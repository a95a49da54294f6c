"""How sure a score is: bootstrap intervals over pictures, paired differences, parts of the pictures, spread over seeds.

Every score is a function of a sum over pictures (``wordgaze.metrics.base``), so a resample of the pictures is other
weights in that sum, and nothing is scored twice. All functions take the (N, K) statistics of one metric.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Summed

LEVEL = 95.0
"""Per cent of the resamples that an interval holds."""

_CHUNK = 100  # resamples at a time: 5,000 pictures are 4 MB
_ROUNDING = 1e-12

Label = TypeVar("Label", int, str)


@dataclass(frozen=True)
class Interval:
    """A score of all the pictures, and the 95 % percentile interval of the scores of resamples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """The first system's score minus the second's; ``p`` is two-sided, of the bootstrap, and never 0."""

    p: float


@dataclass(frozen=True)
class Spread:
    """Of one score over seeds. ``deviation`` is the sample standard deviation, None for a single seed."""

    mean: float
    deviation: float | None


def bootstrap(metric: Summed, statistics: Floats, samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """An interval for each of the metric's scores (Efron's percentiles, pictures drawn with replacement).

    Equal seeds draw equal resamples for all metrics of the same pictures. Raises ScoreError on an unusable input.
    """
    _check(statistics, samples)
    values = metric.scores(statistics.sum(axis=0))
    drawn = _gather(metric.scores(counts @ statistics) for counts in _resamples(len(statistics), samples, seed))
    return {name: Interval(float(values[name]), *_percentiles(drawn[name])) for name in drawn}


def difference(
    metric: Summed, ours: Floats, theirs: Floats, samples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """The paired bootstrap (Koehn 2004) of two systems on the same pictures: both are scored on equal resamples.

    p is twice the share of resamples on zero or on its other side, one added to both counts, and at most 1.
    Raises ScoreError on an unusable input.
    """
    _check_pair(ours, theirs, samples)
    values = _minus(metric.scores(ours.sum(axis=0)), metric.scores(theirs.sum(axis=0)))
    resamples = _resamples(len(ours), samples, seed)
    drawn = _gather(_minus(metric.scores(counts @ ours), metric.scores(counts @ theirs)) for counts in resamples)
    found = {}
    for name, gaps in drawn.items():
        beyond = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
        p = min(1.0, 2 * (beyond + 1) / (samples + 1))
        found[name] = Difference(float(values[name]), *_percentiles(gaps), p)
    return found


def randomisation(metric: Summed, ours: Floats, theirs: Floats, samples: int = 1000, seed: int = 0) -> dict[str, float]:
    """Two-sided p of approximate randomisation (Noreen 1989): the systems change places at random, by picture.

    The share of exchanges that part the systems at least as far as they are, one added to both counts. Raises
    ScoreError on an unusable input.
    """
    _check_pair(ours, theirs, samples)
    a, b, gap = ours.sum(axis=0), theirs.sum(axis=0), theirs - ours
    values = _minus(metric.scores(a), metric.scores(b))
    generator = np.random.default_rng(seed)
    drawn = _gather(
        _minus(metric.scores(a + moved), metric.scores(b - moved))
        for size in _sizes(samples)
        for moved in [generator.integers(2, size=(size, len(gap))).astype(np.float64) @ gap]
    )
    return {
        name: float((np.abs(gaps) >= abs(values[name]) - _ROUNDING).sum() + 1) / (samples + 1)
        for name, gaps in drawn.items()
    }


def by_group(metric: Summed, statistics: Floats, groups: Sequence[Label]) -> dict[Label, dict[str, float]]:
    """The scores of parts of the pictures: ``groups[i]`` names the part of picture i, such as its number of objects.

    Parts are in the order of their names. What the metric knows of all pictures (CIDEr's document frequencies)
    stays, so that parts can be compared. Raises ScoreError on an unusable input.
    """
    _check(statistics, samples=1)
    if len(groups) != len(statistics):
        raise ScoreError(f"{len(groups)} groups for {len(statistics)} pictures: each picture needs exactly one")
    names = np.asarray(groups, dtype=object)
    return {
        group: {name: float(value) for name, value in metric.scores(statistics[names == group].sum(axis=0)).items()}
        for group in sorted(set(groups))
    }


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of a score over seeds. Raises ScoreError if there is none, or no number."""
    if not values or not np.isfinite(values).all():
        raise ScoreError(f"no spread of the scores {list(values)}: one finite number a seed is needed")
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _resamples(pictures: int, samples: int, seed: int) -> Iterator[Floats]:
    """(_CHUNK, N): how often each resample has each picture."""
    generator = np.random.default_rng(seed)
    for size in _sizes(samples):
        yield generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=size).astype(np.float64)


def _sizes(samples: int) -> list[int]:
    return [min(_CHUNK, samples - start) for start in range(0, samples, _CHUNK)]


def _gather(chunks: Iterator[dict[str, Floats]]) -> dict[str, Floats]:
    whole = list(chunks)
    return {name: np.concatenate([chunk[name] for chunk in whole]) for name in whole[0]}


def _minus(ours: dict[str, Floats], theirs: dict[str, Floats]) -> dict[str, Floats]:
    return {name: np.asarray(ours[name] - theirs[name]) for name in ours}


def _percentiles(drawn: Floats) -> tuple[float, float]:
    """Of the resamples that have the score: one in which no word was measured, say, tells nothing. NaN if none has."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.percentile(known, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def _check(statistics: Floats, samples: int) -> None:
    if statistics.ndim != 2 or not len(statistics):
        raise ScoreError(f"statistics of shape {statistics.shape}: one row a picture is needed, and at least one")
    if not np.isfinite(statistics).all():
        raise ScoreError(f"the statistics of picture number {int(np.argwhere(~np.isfinite(statistics))[0, 0])} are NaN")
    if samples < 1:
        raise ScoreError(f"{samples} resamples: at least 1 is needed, and 1000 are usual")


def _check_pair(ours: Floats, theirs: Floats, samples: int) -> None:
    _check(ours, samples)
    _check(theirs, samples)
    if ours.shape != theirs.shape:
        raise ScoreError(f"statistics of shapes {ours.shape} and {theirs.shape}: score both on the same pictures")
