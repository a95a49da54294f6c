"""Several decoders that speak as one: the mean of the probabilities that they give the next word."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wordgaze.decoding.base import Speaker
from wordgaze.model.attention import Rows


class Ensemble:
    """A speaker made of speakers with one vocabulary. ``features`` of :meth:`look` is a sequence, one a member, so that
    each may have an encoder of its own; memory, state, glimpse and table are tuples of the members'."""

    def __init__(self, members: Sequence[Speaker]) -> None:
        self.members = tuple(members)

    def look(self, features: Sequence[Any]) -> Any:
        """One member's features after the other's."""
        return tuple(member.look(of_one) for member, of_one in zip(self.members, features, strict=True))

    def start(self, memory: Any, captions: int) -> Any:
        """Every member's state before the first word."""
        return tuple(member.start(of_one, captions) for member, of_one in zip(self.members, memory, strict=True))

    def table(self) -> Any:
        """Every member's table."""
        return tuple(member.table() for member in self.members)

    def glimpse(self, state: Any, memory: Any, rows: Rows | None = None) -> Any:
        """What every member sees."""
        return tuple(m.glimpse(s, of_one, rows) for m, s, of_one in zip(self.members, state, memory, strict=True))

    def say(
        self, words: Tensor, glimpse: Any, memory: Any, rows: Rows | None = None, table: Any = None
    ) -> "SaidTogether":
        """words (N,) → the logarithm of the mean probability, the members' states, and the mean of the weights of
        those members that share the first one's grid."""
        table = table or (None,) * len(self.members)
        parts = zip(self.members, glimpse, memory, table, strict=True)
        said = [member.say(words, seen, known, rows, classes) for member, seen, known, classes in parts]
        log_probs = torch.stack([torch.log_softmax(of_one.logits.float(), dim=-1) for of_one in said])
        grid = said[0].weights.shape
        return SaidTogether(
            log_probs.logsumexp(0) - math.log(len(said)),
            tuple(of_one.state for of_one in said),
            torch.stack([of_one.weights for of_one in said if of_one.weights.shape == grid]).mean(0),
        )


class SaidTogether(NamedTuple):
    """What several decoders say as one: :class:`wordgaze.decoding.base.Spoken`."""

    logits: Tensor
    state: tuple[Any, ...]
    weights: Tensor
