"""Whether a word's probability says how often such words are right.

What "right" means is the caller's: of a caption decoded freely, ``words_right``; with the reference given word by
word, that the likeliest word is the reference's. The end of a caption is no word and is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

_ROUNDING = 1e-6  # by which the exponential of a log_prob may pass 1


@dataclass(frozen=True)
class Bin:
    """Words whose probabilities lie in ``low`` < p ≤ ``high``; the first bin holds its ``low`` too."""

    low: float
    high: float
    count: int
    confidence: float  # mean probability
    accuracy: float  # share that is right


def words_right(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[list[bool]]:
    """For each word of each caption, whether any reference of its picture has it, anywhere.

    Lenient about order and number: the second "dog" is right too. Raises ScoreError on a misfit.
    """
    refuse_unscorable(references)
    refuse_misfit(captions, len(references))
    found = []
    for words, of_one in zip(captions, references, strict=True):
        known = {word for reference in of_one for word in reference}
        found.append([word in known for word in words])
    return found


def reliability(
    probabilities: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10, equal_mass: bool = False
) -> list[Bin]:
    """The reliability curve: ``bins`` of equal width over 0…1, or of (nearly) equal counts; empty ones are left out.

    ``probabilities`` and ``right`` are (N,): a word each. Of equal mass, a bin's ``low`` and ``high`` are the least
    and greatest probabilities in it. Raises ScoreError if there is no word, or on what is no probability.
    """
    p, hit = _checked(probabilities, right)
    if bins < 1:
        raise ScoreError(f"{bins} bins: at least 1 is needed, and 10 are usual")
    if equal_mass:
        parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
        return [_bin(p[part], hit[part], p[part].min(), p[part].max()) for part in parts]
    edges = np.linspace(0, 1, bins + 1)
    places = np.digitize(p, edges[1:-1], right=True)
    return [_bin(p[places == i], hit[places == i], edges[i], edges[i + 1]) for i in np.unique(places)]


def expected_calibration_error(
    probabilities: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10, equal_mass: bool = False
) -> float:
    """ECE, 0…1 (Guo et al. 2017, equation 3): the gap between confidence and accuracy, averaged over words.

    Of a few words it is far from 0 even for perfect probabilities. Raises as ``reliability`` does.
    """
    curve = reliability(probabilities, right, bins, equal_mass)
    gaps = sum(part.count * abs(part.accuracy - part.confidence) for part in curve)
    return gaps / sum(part.count for part in curve)


def brier(probabilities: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """The mean squared distance of a probability from what came, 0…1 (Brier 1950). Raises as ``reliability`` does."""
    p, hit = _checked(probabilities, right)
    return float(np.mean((p - hit) ** 2))


def _bin(p: Floats, hit: Floats, low: float, high: float) -> Bin:
    return Bin(float(low), float(high), len(p), float(p.mean()), float(hit.mean()))


def _checked(probabilities: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, hit = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
    if p.ndim != 1 or p.shape != hit.shape:
        raise ScoreError(
            f"probabilities of shape {p.shape} for words of shape {hit.shape}: each word needs exactly one"
        )
    if not p.size:
        raise ScoreError("no words, so their calibration is not defined; are all captions empty?")
    wrong = p[~((p >= 0) & (p <= 1 + _ROUNDING))]
    if wrong.size:
        raise ScoreError(f"{wrong[0]} is no probability of a word; is it a log_prob?")
    if not np.isin(hit, (0, 1)).all():
        raise ScoreError("whether a word is right must be True or False, or 1 or 0")
    return np.minimum(p, 1), hit
