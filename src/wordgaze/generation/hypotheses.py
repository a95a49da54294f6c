"""The hypotheses of all pictures, growing word by word in one batch, whichever strategy chooses the words.

What a picture's hypotheses have in common is computed once: its keys, and what a hypothesis sees before the next word,
which all that part at that word share. A hypothesis that has ended takes no part in any later step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.generation.outputs import Caption, FinishReason, GenerationModel, take
from wordgaze.models.attention import RowIndex
from wordgaze.text.vocabulary import START, Vocabulary

KEPT = 0.75  # memory is packed once this share of its pictures or less still has hypotheses


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis that is over: row ``row`` of level ``level``, and the logarithm of END's probability if it ended."""

    level: int
    row: int
    end_log_prob: float | None
    score: float
    finish_reason: FinishReason


@dataclass(frozen=True)
class _Level:
    words: Tensor  # (N, t), said so far
    log_probs: Tensor  # (N, t)
    parent: Tensor  # (N,), rows of the level before
    weights: Tensor  # (N, L), where it looked for the next word


class HypothesisTree:
    """Open hypotheses, one a row, ordered by picture. A level is all hypotheses of one length.

    ``picture`` (N,): whose; ``words`` (N, t): said so far; ``total`` (N,): the logarithm of their probability. All
    begin with the same ``begun`` words, which no strategy chose.
    """

    def __init__(
        self, model: GenerationModel, features: Any, table: Any = None, grid: tuple[int, int] | None = None
    ) -> None:
        self.model, self.table, self.grid = model, table, grid
        self.memory = model.encode(features)
        self.state = model.init_state(self.memory, 1)
        some = _first_tensor(self.memory)
        self.count, self.device = len(some), some.device
        self.picture = self.parent = self._slot = torch.arange(self.count, device=self.device)
        self.words = torch.zeros(self.count, 0, dtype=torch.long, device=self.device)
        self.log_probs = torch.zeros(self.count, 0, device=self.device)
        self.total = torch.zeros(self.count, device=self.device)
        self.begun = 0
        self._apart = True
        self.levels: list[_Level] = []

    @property
    def parted(self) -> bool:
        """Whether a word was chosen already; before that a picture has one hypothesis."""
        return self.words.shape[1] > self.begun

    def begin(self, words: Sequence[int]) -> None:
        """Says these words of every picture, before any is chosen."""
        every = torch.arange(self.count, device=self.device)
        for word in words:
            self.grow(every, torch.full_like(every, word), self.expand()[:, word], apart=True)
        self.begun = len(words)

    def expand(self) -> Tensor:
        """The logarithm of every next word's probability (N, V). Raises ModelError where the decoder gives NaN."""
        said = self.words[:, -1] if self.words.shape[1] else torch.full_like(self.picture, START)
        if self._apart:
            parents, seen = self.parent, torch.arange(len(self.parent), device=self.device)
        else:
            parents, seen = torch.unique(self.parent, return_inverse=True)
        owner = self._slot[self.picture]
        rows = self._rows(owner)
        first = rows if self._apart else self._rows(torch.empty_like(parents).index_copy(0, seen, owner))
        step_inputs = self.model.prepare_step(take(self.state, parents), self.memory, first)
        shared = step_inputs if self._apart else take(step_inputs, seen)
        output = self.model.step(said, shared, self.memory, rows, self.table)
        self.state = output.state
        self._seal(output.weights.float())
        log_probs = torch.log_softmax(output.logits.float(), dim=-1)
        if torch.isnan(log_probs[:, 0]).any():  # one logit that is none makes its whole row so
            raise ModelError("the decoder gives NaN; its weights or the features are broken, train again")
        return log_probs

    def grow(self, rows: Tensor, words: Tensor, log_probs: Tensor, apart: bool = False) -> None:
        """The next level: hypothesis ``rows[m]`` goes on with ``words[m]``. (M,) each, ordered by picture.

        ``apart``: ``rows`` is ascending and no two are the same, which saves looking for what they share.
        """
        self._apart = apart
        self.parent = rows
        self.picture = self.picture[rows]
        self.words = torch.cat([self.words[rows], words.unsqueeze(1)], dim=1)
        self.log_probs = torch.cat([self.log_probs[rows], log_probs.unsqueeze(1)], dim=1)
        self.total = self.total[rows] + log_probs
        self._pack()

    def finish(self) -> None:
        """Closes the book after the last :meth:`grow`, so that open hypotheses can be read too."""
        self._seal(torch.zeros(0, 0, device=self.device))

    def read(self, hypotheses: list[list[Hypothesis]], vocabulary: Vocabulary) -> list[list[Caption]]:
        """The captions of these hypotheses."""
        reader = _Reader(self.levels, vocabulary, self.grid)
        return [[reader.caption(hypothesis) for hypothesis in of_one] for of_one in hypotheses]

    def _rows(self, owner: Tensor) -> RowIndex | None:
        """How rows ask the pictures of memory, ``owner`` (N,) being whose they are; None if all are asked alike."""
        if len(owner) == len(_first_tensor(self.memory)) == 1:
            return None
        counts = torch.bincount(owner, minlength=len(_first_tensor(self.memory)))
        width = int(counts.max())
        if len(owner) == len(counts) * width:
            return None
        rank = torch.arange(len(owner), device=self.device) - (counts.cumsum(0) - counts)[owner]
        return RowIndex(owner * width + rank, width)

    def _pack(self) -> None:
        alive = torch.unique_consecutive(self.picture)
        if 0 < len(alive) <= KEPT * len(_first_tensor(self.memory)):
            self.memory = take(self.memory, self._slot[alive])
            self._slot = torch.zeros(self.count, dtype=torch.long, device=self.device)
            self._slot[alive] = torch.arange(len(alive), device=self.device)

    def _seal(self, weights: Tensor) -> None:
        self.levels.append(_Level(self.words, self.log_probs, self.parent, weights))


class _Reader:
    """Reads hypotheses back, from their last word to the first."""

    def __init__(self, levels: list[_Level], vocabulary: Vocabulary, grid: tuple[int, int] | None) -> None:
        self.levels = [{name: part.cpu().numpy() for name, part in vars(level).items()} for level in levels]
        self.vocabulary, self.grid = vocabulary, grid or (1, self.levels[0]["weights"].shape[1])

    def caption(self, hypothesis: Hypothesis) -> Caption:
        level = self.levels[hypothesis.level]
        looked, row = [], hypothesis.row
        for now, before in zip(
            self.levels[hypothesis.level : 0 : -1], self.levels[hypothesis.level - 1 :: -1], strict=False
        ):
            row = now["parent"][row]
            looked.append(before["weights"][row])
        log_probs: list[float] = level["log_probs"][hypothesis.row].tolist()
        return Caption(
            words=tuple(self.vocabulary.words[i] for i in level["words"][hypothesis.row]),
            log_prob=math.fsum(log_probs) + (hypothesis.end_log_prob or 0.0),
            score=hypothesis.score,
            word_log_probs=tuple(log_probs),
            attention=np.stack(looked[::-1]).reshape(-1, *self.grid)
            if looked
            else np.zeros((0, *self.grid), np.float32),
            finish_reason=hypothesis.finish_reason,
        )


def _first_tensor(parts: Any) -> Tensor:
    while not isinstance(parts, Tensor):
        parts = parts[0]
    return parts
