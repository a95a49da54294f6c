"""What generation returns, and what it requires of a model."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from wordgaze.models.attention import RowIndex

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
    calibration. ``naming`` says why the caption has the name of an object that it lacked otherwise (``name_objects``).
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


class StepResult(Protocol):
    """The output of one step: logits (N, V) of the next word, the new state, attention weights (N, L)."""

    @property
    def logits(self) -> Tensor: ...

    @property
    def state(self) -> Any: ...

    @property
    def weights(self) -> Tensor: ...


class GenerationModel(Protocol):
    """What generation requires of a model: a decoder or an ensemble of decoders.

    Memory, state, step inputs and word table are (nested) tuples of tensors that generation does not interpret. Their
    first dimension is images (B), hypotheses (N), hypotheses (N) and words (V).
    """

    def encode(self, features: Any) -> Any:
        """features (B, L, D) → memory: what is computed once per image, such as the keys of the attention."""
        ...

    def init_state(self, memory: Any, captions: int) -> Any:
        """The state before the first word, ``captions`` rows per image."""
        ...

    def word_table(self) -> Any:
        """What is computed once per word of the vocabulary; the same for all images."""
        ...

    def prepare_step(self, state: Any, memory: Any, rows: RowIndex | None = None) -> Any:
        """The part of the next step that does not depend on the word; shared by hypotheses with a common parent."""
        ...

    def step(
        self, words: Tensor, step_inputs: Any, memory: Any, rows: RowIndex | None = None, table: Any = None
    ) -> StepResult:
        """words (N,), the last token of each hypothesis → the logits of the next token, the state and the attention."""
        ...


def select_rows(tensors: Any, rows: Tensor) -> Any:
    """``rows`` of every tensor in a tensor or a (nested, named or plain) tuple of tensors."""
    if isinstance(tensors, Tensor):
        return tensors if len(tensors) == len(rows) == 1 else tensors[rows]
    selected = [select_rows(part, rows) for part in tensors]
    return type(tensors)(*selected) if hasattr(tensors, "_fields") else tuple(selected)
