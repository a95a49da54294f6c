"""What every search gives back, and what it asks of a decoder."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ended = Literal["end", "length"]


@dataclass(frozen=True)
class Caption:
    """One caption of one picture.

    ``log_prob`` is the natural logarithm of its probability, END included where it was said; ``score`` is log_prob
    divided by length to the power of the length penalty, which ranks the captions of a search. ``word_log_probs``
    and ``weights`` (T, L) have an entry for each word. ``ended``: by END, or at the maximum length.
    """

    words: tuple[str, ...]
    log_prob: float
    score: float
    word_log_probs: tuple[float, ...]
    weights: npt.NDArray[np.float32]
    ended: Ended

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(self.words)
