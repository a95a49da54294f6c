"""Selective prediction: how good the captions are that a captioner is most confident of, and how well a score separates
two groups.

A captioner that may abstain answers for the images whose confidence is highest. Coverage is the share of the images it
answers for, and the selective risk is the mean loss over them (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017).
"""

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats


def selective_means(confidence: npt.ArrayLike, values: npt.ArrayLike) -> Floats:
    """(N,): the mean value of the k most confident of N images, for k = 1…N.

    ``values`` (N,) are losses, or scores such as CIDEr. Of images with equal confidence none comes first: each counts
    with the mean of them all, which is the expectation over random orders. Raises ScoreError if there are no images,
    and for a value that is not finite.
    """
    keys, losses = _checked_pair(confidence, values)
    _, group, counts = np.unique(-keys, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=losses) / counts
    ordered = np.repeat(means, counts)  # np.unique sorts, so the most confident group comes first
    return np.cumsum(ordered) / np.arange(1, len(ordered) + 1)


def aurc(confidence: npt.ArrayLike, losses: npt.ArrayLike) -> float:
    """The area under the risk–coverage curve (Geifman and El-Yaniv 2017): the mean of the selective risk over k.

    A random order has the mean loss, the best possible one :func:`best_aurc`. Raises as :func:`selective_means`.
    """
    return float(selective_means(confidence, losses).mean())


def best_aurc(losses: npt.ArrayLike) -> float:
    """The area of an oracle, which is most confident where the loss is least. Raises as :func:`selective_means`."""
    return aurc(-np.asarray(losses, np.float64), losses)


def auroc(negative: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """The probability that a random ``positive`` has a higher score than a random ``negative``; ties count one half.

    This is the area under the ROC curve, and the Mann–Whitney U statistic divided by the number of pairs (Hanley and
    McNeil 1982). Raises ScoreError if either is empty, and for a value that is not finite.
    """
    low, high = _checked_scores("negative", negative), _checked_scores("positive", positive)
    below = np.searchsorted(np.sort(low), high, side="left") + np.searchsorted(np.sort(low), high, side="right")
    return float(below.mean() / (2 * len(low)))


def _checked_pair(confidence: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Floats, Floats]:
    keys, losses = _checked_scores("confidence", confidence), _checked_scores("values", values)
    if keys.shape != losses.shape:
        raise ScoreError(f"{len(keys)} confidences for {len(losses)} images: each image needs exactly one")
    return keys, losses


def _checked_scores(name: str, values: npt.ArrayLike) -> Floats:
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ScoreError(f"`{name}` has shape {scores.shape}; give one number for each of one image or more")
    if not np.isfinite(scores).all():
        raise ScoreError(f"`{name}` has a value that is not finite; leave out what has no score")
    return scores
