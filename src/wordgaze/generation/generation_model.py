"""What generation requires of a model."""

from typing import Any, Protocol

from torch import Tensor

from wordgaze.models.attention import RowIndex


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
