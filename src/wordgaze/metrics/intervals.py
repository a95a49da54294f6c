"""Uncertainty of scores: bootstrap intervals over images, paired differences, groups of images, deviation over seeds.

Every score is a function of a sum over images (``wordgaze.metrics.base``), so a resample of the images is a weighted
sum, and no caption is scored twice. All functions take the (N, K) statistics of one metric.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Summed

LEVEL = 95.0
"""Coverage of an interval, in per cent."""

_CHUNK = 100  # resamples at a time: with 5,000 images 4 MB
_CELLS = 500_000  # of more images fewer resamples, so that it is never more than that

Label = TypeVar("Label", int, str)


@dataclass(frozen=True)
class Interval:
    """The score of all images, and the 95 % percentile interval of the scores of resamples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """The first system's score minus the second's; ``p`` is the two-sided p-value of the bootstrap, never 0."""

    p: float


@dataclass(frozen=True)
class Spread:
    """Mean of a score over random seeds; ``deviation`` is the sample standard deviation, None for a single seed."""

    mean: float
    deviation: float | None


def bootstrap(metric: Summed, statistics: Floats, samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """An interval for each of the metric's scores (Efron's percentile method, images drawn with replacement).

    Equal seeds draw equal resamples for all metrics of the same images. Raises ScoreError if ``statistics`` are empty,
    not (N, K) or NaN.
    """
    _check(statistics, samples)
    values = metric.scores(statistics.sum(axis=0))
    drawn = _gather(metric.scores(counts @ statistics) for counts in _resamples(len(statistics), samples, seed))
    return {name: Interval(float(values[name]), *_percentiles(drawn[name])) for name in drawn}


def difference(
    metric: Summed, ours: Floats, theirs: Floats, samples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """The paired bootstrap (Koehn 2004) of two systems on the same images: both are scored on equal resamples.

    p is twice the share of resamples in which the difference is zero or has the other sign, with one added to both
    counts, and at most 1. Raises ScoreError if statistics are empty, not (N, K), NaN or of different shapes.
    """
    _check_pair(ours, theirs, samples)
    values = _minus(metric.scores(ours.sum(axis=0)), metric.scores(theirs.sum(axis=0)))
    resamples = _resamples(len(ours), samples, seed)
    drawn = _gather(_minus(metric.scores(counts @ ours), metric.scores(counts @ theirs)) for counts in resamples)
    differences = {}
    for name, gaps in drawn.items():
        beyond = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
        p = min(1.0, 2 * (beyond + 1) / (samples + 1))
        differences[name] = Difference(float(values[name]), *_percentiles(gaps), p)
    return differences


def by_group(metric: Summed, statistics: Floats, groups: Sequence[Label]) -> dict[Label, dict[str, float]]:
    """The scores of groups of images: ``groups[i]`` names the group of image i, such as its number of objects.

    Groups are in the order of their names. What a metric derives from all images (CIDEr's document frequencies) is the
    same for all groups, so that they compare. Raises ScoreError unless there is one group per image.
    """
    _check(statistics, samples=1)
    if len(groups) != len(statistics):
        raise ScoreError(f"{len(groups)} groups for {len(statistics)} images: each image needs exactly one")
    names = np.asarray(groups, dtype=object)
    return {
        group: {name: float(value) for name, value in metric.scores(statistics[names == group].sum(axis=0)).items()}
        for group in sorted(set(groups))
    }


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of a score over seeds. Raises ScoreError if there is no finite score."""
    if not values or not np.isfinite(values).all():
        raise ScoreError(f"the scores {list(values)} have no mean: one finite number per seed is needed")
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _resamples(num_images: int, samples: int, seed: int) -> Iterator[Floats]:
    """(_CHUNK or fewer, N): how often each image is in each resample."""
    generator = np.random.default_rng(seed)
    chunk = max(1, min(_CHUNK, _CELLS // num_images))
    for start in range(0, samples, chunk):
        size = min(chunk, samples - start)
        yield generator.multinomial(num_images, np.full(num_images, 1 / num_images), size=size).astype(np.float64)


def _gather(chunks: Iterator[dict[str, Floats]]) -> dict[str, Floats]:
    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _minus(ours: dict[str, Floats], theirs: dict[str, Floats]) -> dict[str, Floats]:
    return {name: np.asarray(ours[name] - theirs[name]) for name in ours}


def _percentiles(drawn: Floats) -> tuple[float, float]:
    """Of the resamples in which the score is defined: a resample may have no measured word. NaN if there are none."""
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.percentile(defined, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def _check(statistics: Floats, samples: int) -> None:
    if statistics.ndim != 2 or not len(statistics):
        raise ScoreError(f"statistics of shape {statistics.shape}: one row per image is needed, and at least one")
    if not np.isfinite(statistics).all():
        raise ScoreError(f"the statistics of image number {int(np.argwhere(~np.isfinite(statistics))[0, 0])} are NaN")
    if samples < 1:
        raise ScoreError(f"{samples} resamples: at least 1 is needed, and 1000 are usual")


def _check_pair(ours: Floats, theirs: Floats, samples: int) -> None:
    _check(ours, samples)
    _check(theirs, samples)
    if ours.shape != theirs.shape:
        raise ScoreError(f"statistics of shapes {ours.shape} and {theirs.shape}: score both on the same images")
