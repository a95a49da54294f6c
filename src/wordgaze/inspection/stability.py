"""The population stability index (PSI), and how large it is by chance.

PSI = Σ (p - q) ln(p / q) over bins, with the shares p of the reference and q of the new sample: the sum of both
Kullback-Leibler divergences. It is 0 for equal shares and never negative.
"""

from dataclasses import dataclass

import numpy as np

from wordgaze.metrics.base import Floats

MAX_BINS = 10
_PER_BIN = 10  # observations that a bin should have
_SMOOTHING = 0.05  # this share is spread over all bins, so that an empty one does not make the index infinite
_PERMUTATIONS = 400
_CHANCE = 99.0  # per cent of the samples without drift whose index is at most ``Stability.by_chance``


@dataclass(frozen=True)
class Stability:
    """The index of a sample, and what it does not exceed in 99 % of the cases in which nothing has changed."""

    psi: float
    by_chance: float


def population_stability(reference: Floats, sample: Floats) -> Floats:
    """The PSI of counts (..., B) of a sample against counts (..., B) of the reference, over the last axis.

    What is added to each bin is a share of the total, so that samples of any size with equal shares have the index 0.
    """
    p, q = _shares(reference), _shares(sample)
    return np.asarray(((p - q) * np.log(p / q)).sum(-1))


def _shares(counts: Floats) -> Floats:
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(-1, keepdims=True)
    bins = counts.shape[-1]
    shares = np.divide(counts, total, out=np.full(counts.shape, 1 / bins), where=total > 0)
    return np.asarray((shares + _SMOOTHING / bins) / (1 + _SMOOTHING))


def stability(reference: Floats, sample: Floats, groups: int = 1, seed: int = 0) -> Stability:
    """The largest PSI of ``groups`` quantities, each with its bins.

    ``reference`` (N, G · B) and ``sample`` (M, G · B) have a row per image: its counts in the bins of each quantity.
    ``by_chance`` is that of a permutation test: the rows of both are mixed, and M of them are drawn. It is exact if the
    bins do not tell the rows of the two apart, as bins between quantiles of both together.
    """
    pooled = np.concatenate([reference, sample])
    totals = pooled.sum(0)

    def index(counts: Floats) -> float:
        parts = ((totals - counts).reshape(groups, -1), counts.reshape(groups, -1))
        return float(population_stability(*parts).max())

    generator = np.random.default_rng(seed)
    chance = [index(pooled[generator.permutation(len(pooled))[: len(sample)]].sum(0)) for _ in range(_PERMUTATIONS)]
    return Stability(index(sample.sum(0)), float(np.percentile(chance, _CHANCE)))


def bins_for(observations: int) -> int:
    """The number of bins for so many observations: a few have coarse bins, because chance would fill fine ones."""
    return min(MAX_BINS, max(2, observations // _PER_BIN))


def quantile_bins(values: Floats, num_bins: int) -> Floats:
    """(N, G) values → (N, G · B): one in the bin of each value, between the quantiles of all of them."""
    inner = np.quantile(values, np.arange(1, num_bins) / num_bins, axis=0)  # (B - 1, G)
    places = (values[:, None, :] > inner[None, :, :]).sum(1)  # (N, G)
    return np.asarray(np.eye(num_bins)[places].reshape(len(values), -1))
