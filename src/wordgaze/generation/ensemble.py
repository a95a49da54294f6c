"""An ensemble of decoders: the mean of their probabilities of the next word."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wordgaze.generation.generation_model import GenerationModel
from wordgaze.models.attention import RowIndex


class Ensemble:
    """Several models with one vocabulary as one :class:`wordgaze.generation.generation_model.GenerationModel`.

    ``features`` of :meth:`encode` is a sequence with an entry per member, so each member may have an encoder of its
    own. Memory, state, step inputs and word table are tuples with an entry per member.
    """

    def __init__(self, members: Sequence[GenerationModel]) -> None:
        self.members = tuple(members)

    def encode(self, features: Sequence[Any]) -> Any:
        """The memory of every member."""
        return tuple(member.encode(of_member) for member, of_member in zip(self.members, features, strict=True))

    def init_state(self, memory: Any, captions: int) -> Any:
        """The state of every member before the first word."""
        return tuple(member.init_state(part, captions) for member, part in zip(self.members, memory, strict=True))

    def word_table(self) -> Any:
        """The word table of every member."""
        return tuple(member.word_table() for member in self.members)

    def prepare_step(self, state: Any, memory: Any, rows: RowIndex | None = None) -> Any:
        """The step inputs of every member."""
        parts = zip(self.members, state, memory, strict=True)
        return tuple(member.prepare_step(own_state, own_memory, rows) for member, own_state, own_memory in parts)

    def step(
        self, words: Tensor, step_inputs: Any, memory: Any, rows: RowIndex | None = None, table: Any = None
    ) -> "EnsembleOutput":
        """words (N,) → the logarithm of the mean probability, the states, and the mean of the attention weights over
        those members that have the grid of the first one."""
        table = table or (None,) * len(self.members)
        parts = zip(self.members, step_inputs, memory, table, strict=True)
        outputs = [member.step(words, inputs, of_member, rows, own) for member, inputs, of_member, own in parts]
        log_probs = torch.stack([torch.log_softmax(output.logits.float(), dim=-1) for output in outputs])
        grid = outputs[0].weights.shape
        return EnsembleOutput(
            log_probs.logsumexp(0) - math.log(len(outputs)),
            tuple(output.state for output in outputs),
            torch.stack([output.weights for output in outputs if output.weights.shape == grid]).mean(0),
        )


class EnsembleOutput(NamedTuple):
    """One step of an ensemble: log-probabilities (N, V), the members' states, attention weights (N, L)."""

    logits: Tensor
    state: tuple[Any, ...]
    weights: Tensor
