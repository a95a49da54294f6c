"""What every score of captions is: what each picture adds, and how the sum becomes a number.

Corpus scores such as BLEU are no mean over pictures, yet all of them are a function of a sum over pictures. So
intervals, differences between two systems and scores of a part of the pictures need one mechanism: other sums.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Tokens = Sequence[str]
Floats = npt.NDArray[np.float64]


class Summed(Protocol):
    """A score that is a function of a sum over pictures."""

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., K), sums over pictures → each score by name, (...)."""
        ...


class Metric(Summed, Protocol):
    """A score of captions against fixed references, which it is made with. ``columns`` is K."""

    columns: int

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, K): what the caption of each of the N pictures adds, in the references' order."""
        ...
