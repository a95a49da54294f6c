"""Several decoders that speak as one: the mean of the probabilities that they give the next word."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wordgaze.generation.outputs import GenerationModel
from wordgaze.models.attention import RowIndex


class Ensemble:
    """A model made of speakers with one vocabulary. ``features`` of :meth:`look` is a sequence, one a member, so that
    each may have an encoder of its own; memory, state, step_inputs and table are tuples of the members'."""

    def __init__(self, members: Sequence[GenerationModel]) -> None:
        self.members = tuple(members)

    def encode(self, features: Sequence[Any]) -> Any:
        """One member's features after the other's."""
        return tuple(member.encode(of_one) for member, of_one in zip(self.members, features, strict=True))

    def init_state(self, memory: Any, captions: int) -> Any:
        """Every member's state before the first word."""
        return tuple(member.init_state(of_one, captions) for member, of_one in zip(self.members, memory, strict=True))

    def word_table(self) -> Any:
        """Every member's table."""
        return tuple(member.word_table() for member in self.members)

    def prepare_step(self, state: Any, memory: Any, rows: RowIndex | None = None) -> Any:
        """What every member sees."""
        return tuple(m.prepare_step(s, of_one, rows) for m, s, of_one in zip(self.members, state, memory, strict=True))

    def step(
        self, words: Tensor, step_inputs: Any, memory: Any, rows: RowIndex | None = None, table: Any = None
    ) -> "EnsembleOutput":
        """words (N,) → the logarithm of the mean probability, the members' states, and the mean of the weights of
        those members that share the first one's grid."""
        table = table or (None,) * len(self.members)
        parts = zip(self.members, step_inputs, memory, table, strict=True)
        said = [member.step(words, seen, known, rows, classes) for member, seen, known, classes in parts]
        log_probs = torch.stack([torch.log_softmax(of_one.logits.float(), dim=-1) for of_one in said])
        grid = said[0].weights.shape
        return EnsembleOutput(
            log_probs.logsumexp(0) - math.log(len(said)),
            tuple(of_one.state for of_one in said),
            torch.stack([of_one.weights for of_one in said if of_one.weights.shape == grid]).mean(0),
        )


class EnsembleOutput(NamedTuple):
    """What several decoders say as one: :class:`wordgaze.generation.outputs.StepResult`."""

    logits: Tensor
    state: tuple[Any, ...]
    weights: Tensor
