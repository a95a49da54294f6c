"""Several decoders that speak as one: the mean of the probabilities that they give the next word."""

import math
from collections.abc import Sequence
from typing import Any

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

    def say(self, words: Tensor, glimpse: Any, table: Any = None) -> tuple[Tensor, Any]:
        """words (N,) → the logarithm of the mean probability (N, V), the members' new states."""
        table = table or (None,) * len(self.members)
        said = [m.say(words, g, known) for m, g, known in zip(self.members, glimpse, table, strict=True)]
        log_probs = torch.stack([torch.log_softmax(logits.float(), dim=-1) for logits, _ in said])
        return log_probs.logsumexp(0) - math.log(len(said)), tuple(state for _, state in said)

    def attention(self, glimpse: Any) -> Tensor:
        """The mean of the weights of those members that share the first one's grid, (N, L)."""
        weights = [member.attention(of_one) for member, of_one in zip(self.members, glimpse, strict=True)]
        return torch.stack([w for w in weights if w.shape == weights[0].shape]).mean(0)
