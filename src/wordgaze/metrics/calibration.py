"""Calibration: whether the probability of a word, or of a caption, is the share of such words that are right.

The caller decides what "right" means: for generated captions, ``words_right`` or ``captions_right``; with teacher
forcing, that the most probable word is the word of the reference. The end of a caption is not a word and is left out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable
from wordgaze.text.function_words import FUNCTION_WORDS

_ROUNDING = 1e-6  # by which the exponential of a log-probability may exceed 1, and a number next to 0
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Bin:
    """Words whose probabilities lie in ``low`` < p ≤ ``high``; the first bin holds its ``low`` too."""

    low: float
    high: float
    count: int
    confidence: float  # mean probability
    accuracy: float  # share of words that are right


def words_right(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[list[bool]]:
    """For each word of each caption, whether it occurs anywhere in a reference of its image.

    Order and number do not matter: the second "dog" is right too. Raises ScoreError on a misfit.
    """
    refuse_unscorable(references)
    refuse_misfit(captions, len(references))
    right = []
    for words, of_image in zip(captions, references, strict=True):
        known = {word for reference in of_image for word in reference}
        right.append([word in known for word in words])
    return right


def captions_right(
    captions: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    function_words: Collection[str] = FUNCTION_WORDS,
) -> list[bool]:
    """For each caption, whether at least half of its different content words occur in a reference of its image.

    Content words are those that are not in ``function_words``; a caption without any is not right. Raises ScoreError on
    a misfit.
    """
    right = []
    for words, hits in zip(captions, words_right(captions, references), strict=True):
        content = {word: hit for word, hit in zip(words, hits, strict=True) if word not in function_words}
        right.append(bool(content) and 2 * sum(content.values()) >= len(content))
    return right


def reliability(probabilities: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10) -> list[Bin]:
    """The reliability curve: ``bins`` of equal width over 0…1; empty bins are left out.

    ``probabilities`` and ``right`` (N,) have an entry per word. Raises ScoreError if there are no words, and for a
    value that is not a valid probability.
    """
    p, hit = _checked(probabilities, right)
    if bins < 1:
        raise ScoreError(f"{bins} bins: at least 1 is needed, and 10 are usual")
    edges = np.linspace(0, 1, bins + 1)
    places = np.digitize(p, edges[1:-1], right=True)
    return [_bin(p[places == i], hit[places == i], edges[i], edges[i + 1]) for i in np.unique(places)]


def expected_calibration_error(probabilities: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10) -> float:
    """ECE, 0…1 (Guo et al. 2017, equation 3): the gap between confidence and accuracy, averaged over words.

    With few words it is far from 0 even for perfectly calibrated probabilities. Raises as ``reliability`` does.
    """
    curve = reliability(probabilities, right, bins)
    gaps = sum(part.count * abs(part.accuracy - part.confidence) for part in curve)
    return gaps / sum(part.count for part in curve)


def brier(probabilities: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """The mean squared difference of probability and outcome, 0…1 (Brier 1950). Raises as ``reliability`` does."""
    p, hit = _checked(probabilities, right)
    return float(np.mean((p - hit) ** 2))


def platt_scaling(estimates: npt.ArrayLike, right: npt.ArrayLike) -> tuple[float, float]:
    """Slope and intercept of the logistic function that makes estimates (N,) probabilities of being right (Platt 1999).

    Maximum likelihood by Newton's method, with Platt's targets, which are not quite 0 and 1: so the solution is finite
    where the estimates separate right from wrong, and a few outcomes give cautious probabilities. The slope is never
    negative: where higher estimates are right less often, all probabilities are equal. Raises ScoreError if there are
    no estimates, or not one outcome for each.
    """
    x, hit = np.asarray(estimates, np.float64), np.asarray(right, np.bool_)
    if x.ndim != 1 or x.shape != hit.shape or not x.size:
        raise ScoreError(f"estimates of shape {x.shape} for outcomes of shape {hit.shape}: give one outcome for each")
    targets = np.where(hit, (hit.sum() + 1) / (hit.sum() + 2), 1 / ((~hit).sum() + 2))
    scale = x.std() + _ROUNDING  # so that the steps do not depend on the unit
    inputs = np.stack([(x - x.mean()) / scale, np.ones_like(x)], axis=1)
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-inputs @ weights))
        hessian = inputs.T * (p * (1 - p)) @ inputs + _ROUNDING * np.eye(2)
        step = np.linalg.solve(hessian, inputs.T @ (p - targets))
        weights = weights - step / max(1.0, float(np.linalg.norm(step)))  # whole steps diverge where p is nearly 0 or 1
    if weights[0] <= 0:
        return 0.0, float(np.log(targets.mean() / (1 - targets.mean())))
    slope = weights[0] / scale
    return float(slope), float(weights[1] - slope * x.mean())


def _bin(p: Floats, hit: Floats, low: float, high: float) -> Bin:
    return Bin(float(low), float(high), len(p), float(p.mean()), float(hit.mean()))


def _checked(probabilities: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, hit = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    if p.ndim != 1 or p.shape != hit.shape:
        raise ScoreError(
            f"probabilities of shape {p.shape} for words of shape {hit.shape}: each word needs exactly one"
        )
    if not p.size:
        raise ScoreError("there are no words, so calibration is not defined; check whether all captions are empty")
    wrong = p[~((p >= 0) & (p <= 1 + _ROUNDING))]
    if wrong.size:
        raise ScoreError(f"{wrong[0]} is not a valid probability of a word; exponentiate log-probabilities")
    if not np.isin(hit, (0, 1)).all():
        raise ScoreError("the entries of `right` must be True or False, or 1 or 0")
    return np.minimum(p, 1), hit
