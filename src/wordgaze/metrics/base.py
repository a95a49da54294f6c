"""The protocol of all scores of captions: statistics of each image, and a function of their sum.

Corpus scores such as BLEU are not means over images, but all of them are functions of a sum over images. So intervals,
differences between two systems and scores of groups of images need one mechanism: other sums.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Tokens = Sequence[str]
Floats = npt.NDArray[np.float64]


class Summed(Protocol):
    """A score that is a function of a sum over images."""

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., K), sums over images → each score by name, (...)."""
        ...


class Metric(Summed, Protocol):
    """A score of captions against fixed references. ``columns`` is K, the number of statistics of an image."""

    columns: int

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, K): the statistics of the caption of each of N images, in the order of the references."""
        ...
