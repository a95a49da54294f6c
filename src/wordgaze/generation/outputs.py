"""What every strategy gives back, and what it asks of a decoder."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from wordgaze.models.attention import RowIndex

FinishReason = Literal["end", "length", "stuck"]


@dataclass(frozen=True)
class Caption:
    """One caption of one picture.

    ``log_prob`` is the natural logarithm of the probability that the model itself gives the words, END included where
    it was said, whatever constraints or temperature chose them; ``score`` is what ranks the captions of a strategy.
    ``word_log_probs`` (T,) and ``attention`` (T, rows, columns) have an entry for each word. ``ended``: by END, at the maximum length, or
    stuck, because the constraints left no word to say.
    """

    words: tuple[str, ...]
    log_prob: float
    score: float
    word_log_probs: tuple[float, ...]
    attention: npt.NDArray[np.float32]
    finish_reason: FinishReason

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(self.words)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the encoder's grid that the attention lies over."""
        return self.attention.shape[1], self.attention.shape[2]

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """(T, L): ``attention`` with the cells of the grid in row-major order."""
        return self.attention.reshape(len(self.words), self.attention.shape[1] * self.attention.shape[2])


class StepResult(Protocol):
    """logits (N, V) of the next words, the new state, the weights (N, L) with which was looked for them."""

    @property
    def logits(self) -> Tensor: ...

    @property
    def state(self) -> Any: ...

    @property
    def weights(self) -> Tensor: ...


class GenerationModel(Protocol):
    """A decoder, or several that speak as one. Memory, state, step_inputs and table are (nested) tuples of tensors,
    which mean nothing to a strategy; their first dimension is pictures, rows, rows and words."""

    def encode(self, features: Any) -> Any:
        """What the steps need of the pictures: the keys above all. Once a picture."""
        ...

    def init_state(self, memory: Any, captions: int) -> Any:
        """The state before the first word, ``captions`` rows a picture."""
        ...

    def word_table(self) -> Any:
        """What the steps need of the words."""
        ...

    def prepare_step(self, state: Any, memory: Any, rows: RowIndex | None = None) -> Any:
        """What a state is worth to the next word, whichever that is; hypotheses that part at it share this."""
        ...

    def step(
        self, words: Tensor, step_inputs: Any, memory: Any, rows: RowIndex | None = None, table: Any = None
    ) -> StepResult:
        """words (N,), the last ones said, after a step_inputs → what comes next."""
        ...


def take(parts: Any, rows: Tensor) -> Any:
    """These rows of every tensor in a tensor or a (nested, named or plain) tuple of them."""
    if isinstance(parts, Tensor):
        return parts if len(parts) == len(rows) == 1 else parts[rows]
    chosen = [take(part, rows) for part in parts]
    return type(parts)(*chosen) if hasattr(parts, "_fields") else tuple(chosen)
