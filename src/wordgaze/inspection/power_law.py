"""A power law for a learning curve: score(n) = limit - scale * n ** -exponent, with intervals of what it predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wordgaze.metrics.base import Floats

_EXPONENTS = np.linspace(0.02, 1.5, 149)
_DRAWS = 1000
_MIN_ERROR = 1e-4  # a point without uncertainty would get all the weight


@dataclass(frozen=True)
class Measured:
    """The score of captioners that were trained on ``images`` images, with its standard error."""

    images: int
    score: float
    error: float


@dataclass(frozen=True)
class Prediction:
    """The score that a power law predicts for ``images`` images, with its 95 % interval."""

    images: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """The law that fits best, and for the intervals the laws of scores drawn from the measured ones' distributions.

    ``draws`` (D, 3) are (limit, scale, exponent) of each draw.
    """

    limit: float
    scale: float
    exponent: float
    draws: Floats = field(repr=False, compare=False)

    def predict(self, images: int) -> Prediction:
        """The score for ``images`` images. The interval supposes that the law holds beyond the measured sizes."""
        value = self.limit - self.scale * images**-self.exponent
        drawn = self.draws[:, 0] - self.draws[:, 1] * images ** -self.draws[:, 2]
        low, high = np.percentile(drawn, [2.5, 97.5])
        return Prediction(images, float(value), float(min(low, value)), float(max(high, value)))


def fit_power_law(points: Sequence[Measured], seed: int = 0) -> PowerLaw:
    """The law by weighted least squares, never falling and with a limit of at least 0; needs two points or more.

    The exponent is searched on a grid; for each, limit and scale are linear. The intervals are a parametric bootstrap:
    the points are redrawn from normal distributions and fitted again.
    """
    sizes = np.array([point.images for point in points], dtype=np.float64)
    scores = np.array([point.score for point in points], dtype=np.float64)
    errors = np.maximum([point.error for point in points], _MIN_ERROR)
    noise = np.random.default_rng(seed).normal(size=(_DRAWS, len(points)))
    laws = _fit(sizes, np.vstack([scores, scores + noise * errors]), errors**-2)
    limit, scale, exponent = (float(value) for value in laws[0])
    return PowerLaw(limit, scale, exponent, laws[1:])


def _fit(sizes: Floats, scores: Floats, weights: Floats) -> Floats:
    """(D, 3): the law of each row of ``scores`` (D, N)."""
    weights = weights / weights.sum()
    best = np.full(len(scores), np.inf)
    laws = np.zeros((len(scores), 3))
    mean = scores @ weights
    for exponent in _EXPONENTS:
        basis = sizes**-exponent
        centred = basis - basis @ weights
        scale = np.maximum(0.0, -((scores * weights) @ centred) / np.maximum((weights * centred) @ centred, 1e-300))
        limit = mean + scale * (basis @ weights)
        loss = ((scores - limit[:, None] + scale[:, None] * basis) ** 2) @ weights
        better = loss < best
        best = np.where(better, loss, best)
        laws[better] = np.column_stack([limit, scale, np.full(len(scores), exponent)])[better]
    return laws
