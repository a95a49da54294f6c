"""What generation returns. It is read without PyTorch, which an exported captioner does not need."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FinishReason = Literal["end", "length", "stuck"]
"""``end``: END was generated. ``length``: ``max_new_tokens`` was reached. ``stuck``: the logits processors left no word
to continue with."""


@dataclass(frozen=True)
class Caption:
    """One caption of one image, T words long.

    ``log_prob`` is the natural logarithm of the probability that the model gives to the words, END included where
    ``finish_reason`` is ``end``; neither logits processors nor the temperature change it. ``score`` ranks the captions
    of an image; its meaning depends on the strategy. ``word_log_probs`` (T,) are the natural log-probabilities of the
    words without END. ``attention`` (T, rows, columns) are the attention weights of each word over the encoder's grid,
    float32, not negative; a word's weights sum to 1, or to less with a sentinel or local-p attention.
    ``confidence`` is the calibrated probability, 0…1, that the caption is right; None where the captioner has no
    calibration. ``is_outlier`` says that the image is unlike those of the training, so that the caption and its
    confidence may be wrong; False where the captioner cannot tell. ``naming`` says why the caption has the name of
    an object that it lacked otherwise (``name_objects``).
    ``joined`` is the text of a caption in a language that does not separate all words by blanks, otherwise None.
    """

    words: tuple[str, ...]
    log_prob: float
    score: float
    word_log_probs: tuple[float, ...]
    attention: npt.NDArray[np.float32]
    finish_reason: FinishReason
    confidence: float | None = None
    naming: str = ""
    joined: str | None = None
    is_outlier: bool = False

    @property
    def text(self) -> str:
        """The caption as text: the words, with blanks between them where the language has blanks."""
        return " ".join(self.words) if self.joined is None else self.joined

    @property
    def probability(self) -> float:
        """The probability of the caption, 0…1: the exponential of ``log_prob``."""
        return math.exp(min(self.log_prob, 0.0))  # rounding may leave a sum of log-probabilities above 0

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the encoder's grid that the attention lies over."""
        return self.attention.shape[1], self.attention.shape[2]

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """(T, L): ``attention`` with the cells of the grid in row-major order."""
        return self.attention.reshape(len(self.words), self.attention.shape[1] * self.attention.shape[2])
