"""The unfinished hypotheses of all images, extended word by word in one batch, whichever strategy chooses the words.

What the hypotheses of an image share is computed once: the keys of the attention, and the part of a step that does not
depend on the word, which all hypotheses with a common parent share. A finished hypothesis takes part in no later step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.generation.generation_model import GenerationModel, select_rows
from wordgaze.generation.outputs import Caption, FinishReason
from wordgaze.models.attention import RowIndex
from wordgaze.text.vocabulary import START, Vocabulary

COMPACT_BELOW = 0.75
"""Memory is compacted once at most this share of its images has unfinished hypotheses."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished hypothesis: row ``row`` among the hypotheses of ``length`` words.

    ``end_log_prob`` is the log-probability of END, None where END was not generated; ``score`` ranks the hypotheses of
    an image.
    """

    length: int
    row: int
    end_log_prob: float | None
    score: float
    finish_reason: FinishReason


@dataclass(frozen=True)
class _Step:
    """The N hypotheses of t words."""

    token_ids: Tensor  # (N, t)
    log_probs: Tensor  # (N, t)
    parent: Tensor  # (N,), rows of the step before
    weights: Tensor  # (N, L), the attention of the next word


class HypothesisBatch:
    """Unfinished hypotheses, one per row, ordered by image; all of them have the same number of words t.

    ``image`` (N,): the image of each row. ``token_ids`` (N, t). ``log_probs`` (N, t): of each word. ``sum_log_probs``
    (N,): of the words together. ``prefix_length``: the number of given words that all hypotheses begin with.
    ``before_step`` is called before each step, and ends the search by raising an exception.
    """

    def __init__(
        self,
        model: GenerationModel,
        features: Any,
        table: Any = None,
        grid: tuple[int, int] | None = None,
        before_step: Callable[[], None] | None = None,
    ) -> None:
        self.model, self.table, self.grid, self._before_step = model, table, grid, before_step
        self.memory = model.encode(features)
        self.state = model.init_state(self.memory, 1)
        tensor = _first_tensor(self.memory)
        self.num_images, self.device = len(tensor), tensor.device
        self.image = self.parent = self._memory_row = torch.arange(self.num_images, device=self.device)
        self.token_ids = torch.zeros(self.num_images, 0, dtype=torch.long, device=self.device)
        self.log_probs = torch.zeros(self.num_images, 0, device=self.device)
        self.sum_log_probs = torch.zeros(self.num_images, device=self.device)
        self.prefix_length = 0
        self._distinct_parents = True
        self._steps: list[_Step] = []

    @property
    def has_generated(self) -> bool:
        """Whether a word was chosen after the prefix; before that an image has one hypothesis."""
        return self.token_ids.shape[1] > self.prefix_length

    def feed_prefix(self, token_ids: Sequence[int]) -> None:
        """Extends every hypothesis by these words, before any word is chosen."""
        rows = torch.arange(self.num_images, device=self.device)
        for token_id in token_ids:
            self.extend(rows, torch.full_like(rows, token_id), self.next_log_probs()[:, token_id], distinct_rows=True)
        self.prefix_length = len(token_ids)

    def next_log_probs(self) -> Tensor:
        """The log-probabilities of the next token (N, V). Raises ModelError where the model returns NaN."""
        if self._before_step:
            self._before_step()
        last = self.token_ids[:, -1] if self.token_ids.shape[1] else torch.full_like(self.image, START)
        if self._distinct_parents:
            parents, group = self.parent, torch.arange(len(self.parent), device=self.device)
        else:
            parents, group = torch.unique(self.parent, return_inverse=True)
        memory_row = self._memory_row[self.image]
        rows = self._row_index(memory_row)
        parent_rows = rows
        if not self._distinct_parents:
            parent_rows = self._row_index(torch.empty_like(parents).index_copy(0, group, memory_row))
        step_inputs = self.model.prepare_step(select_rows(self.state, parents), self.memory, parent_rows)
        if not self._distinct_parents:
            step_inputs = select_rows(step_inputs, group)
        output = self.model.step(last, step_inputs, self.memory, rows, self.table)
        self.state = output.state
        self._record(output.weights.float())
        log_probs = torch.log_softmax(output.logits.float(), dim=-1)
        if torch.isnan(log_probs[:, 0]).any():  # one logit that is NaN makes its whole row NaN
            raise ModelError("the decoder returns NaN; its weights or the features are broken, train it again")
        return log_probs

    def extend(self, rows: Tensor, token_ids: Tensor, log_probs: Tensor, distinct_rows: bool = False) -> None:
        """Replaces the hypotheses: number m is row ``rows[m]`` with ``token_ids[m]`` added, ordered by image. (M,)
        each.

        ``distinct_rows``: ``rows`` ascends without repetition, so that no two hypotheses have a common parent.
        """
        self._distinct_parents = distinct_rows
        self.parent = rows
        self.image = self.image[rows]
        self.token_ids = torch.cat([self.token_ids[rows], token_ids.unsqueeze(1)], dim=1)
        self.log_probs = torch.cat([self.log_probs[rows], log_probs.unsqueeze(1)], dim=1)
        self.sum_log_probs = self.sum_log_probs[rows] + log_probs
        self._compact_memory()

    def close(self) -> None:
        """Records the hypotheses after the last :meth:`extend`, so that those without END can be read too."""
        self._record(torch.zeros(0, 0, device=self.device))

    def captions(self, hypotheses: list[list[Hypothesis]], vocabulary: Vocabulary) -> list[list[Caption]]:
        """The captions of finished hypotheses, several per image."""
        reader = _CaptionReader(self._steps, vocabulary, self.grid)
        return [[reader.caption(hypothesis) for hypothesis in of_image] for of_image in hypotheses]

    def _row_index(self, memory_row: Tensor) -> RowIndex | None:
        """Assigns hypotheses to the images of memory, ``memory_row`` (N,); None if each image has equally many."""
        num_images = len(_first_tensor(self.memory))
        if len(memory_row) == num_images == 1:
            return None
        counts = torch.bincount(memory_row, minlength=num_images)
        width = int(counts.max())
        if len(memory_row) == len(counts) * width:
            return None
        rank = torch.arange(len(memory_row), device=self.device) - (counts.cumsum(0) - counts)[memory_row]
        return RowIndex(memory_row * width + rank, width)

    def _compact_memory(self) -> None:
        images = torch.unique_consecutive(self.image)
        if 0 < len(images) <= COMPACT_BELOW * len(_first_tensor(self.memory)):
            self.memory = select_rows(self.memory, self._memory_row[images])
            self._memory_row = torch.zeros(self.num_images, dtype=torch.long, device=self.device)
            self._memory_row[images] = torch.arange(len(images), device=self.device)

    def _record(self, weights: Tensor) -> None:
        self._steps.append(_Step(self.token_ids, self.log_probs, self.parent, weights))


class _CaptionReader:
    """Follows finished hypotheses from their last word to their first."""

    def __init__(self, steps: list[_Step], vocabulary: Vocabulary, grid: tuple[int, int] | None) -> None:
        self.steps = [{name: tensor.cpu().numpy() for name, tensor in vars(step).items()} for step in steps]
        self.vocabulary, self.grid = vocabulary, grid or (1, self.steps[0]["weights"].shape[1])

    def caption(self, hypothesis: Hypothesis) -> Caption:
        step = self.steps[hypothesis.length]
        log_probs: list[float] = step["log_probs"][hypothesis.row].tolist()
        return Caption(
            words=tuple(self.vocabulary.words[i] for i in step["token_ids"][hypothesis.row]),
            log_prob=math.fsum(log_probs) + (hypothesis.end_log_prob or 0.0),
            score=hypothesis.score,
            word_log_probs=tuple(log_probs),
            attention=self._attention(hypothesis),
            finish_reason=hypothesis.finish_reason,
        )

    def _attention(self, hypothesis: Hypothesis) -> npt.NDArray[np.float32]:
        """(T, rows, columns)."""
        weights = list(self._weights_backwards(hypothesis))[::-1]
        return np.stack(weights).reshape(-1, *self.grid) if weights else np.zeros((0, *self.grid), np.float32)

    def _weights_backwards(self, hypothesis: Hypothesis) -> Iterator[npt.NDArray[np.float32]]:
        row = hypothesis.row
        for length in range(hypothesis.length, 0, -1):
            row = self.steps[length]["parent"][row]
            yield self.steps[length - 1]["weights"][row]


def _first_tensor(tensors: Any) -> Tensor:
    while not isinstance(tensors, Tensor):
        tensors = tensors[0]
    return tensors
