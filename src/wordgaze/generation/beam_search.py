"""Beam search and its special cases: greedy search, diverse beam search in groups, constrained beam search in banks.

An image has ``num_beam_groups`` groups of hypotheses (Vijayakumar et al. 2016): within a step, a group is penalised for
the words that earlier groups have just chosen. With m forced words a group has 2^m banks (Anderson et al. 2017), one
for each subset of the forced words that a hypothesis has. Hypotheses compete within their bank, so those that have a
forced word are not displaced by more probable ones that lack it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.hypothesis_batch import Hypothesis, HypothesisBatch
from wordgaze.generation.logits_processor_list import LogitsProcessorList
from wordgaze.generation.outputs import FinishReason
from wordgaze.text.vocabulary import END


@dataclass(frozen=True)
class _Continuations:
    """What a group chooses in a step: M continuations, and E hypotheses that END is among the best tokens of."""

    rows: Tensor  # (M,) the hypotheses that are continued
    token_ids: Tensor  # (M,)
    ended: Tensor  # (E,) rows


@dataclass(frozen=True)
class _Beam:
    """The M hypotheses that are kept: row of the batch, next token and its log-probability, group. (M,) each."""

    rows: Tensor
    token_ids: Tensor
    group: Tensor
    log_probs: Tensor

    def select(self, index: Tensor) -> "_Beam":
        return _Beam(self.rows[index], self.token_ids[index], self.group[index], self.log_probs[index])


class BeamSearch:
    """Extends the hypotheses of a batch until none can improve on those that have ended.

    A slot is a group of an image: slot ``image * num_groups + group``.
    """

    def __init__(self, batch: HypothesisBatch, processors: LogitsProcessorList, config: GenerationConfig) -> None:
        self.batch, self.processors, self.config = batch, processors, config
        self.force_words = processors.force_words
        self.num_groups = config.num_beam_groups if config.strategy == "diverse" else 1
        self.group_size = 1 if config.strategy == "greedy" else config.num_beams // self.num_groups
        self.num_per_group = math.ceil(config.num_return_sequences / self.num_groups)
        self.group = torch.zeros_like(batch.image)  # of each row
        num_slots = batch.num_images * self.num_groups
        self.finished: list[list[Hypothesis]] = [[] for _ in range(num_slots)]
        # The score that an unfinished hypothesis has to exceed, by slot.
        self.worst_score = torch.full((num_slots,), -torch.inf, device=batch.device)

    @property
    def _is_greedy(self) -> bool:
        return self.group_size == self.num_groups == 1 and self.force_words is None

    def run(self) -> list[list[Hypothesis]]:
        """The finished hypotheses of each image, best first."""
        for _ in range(self.batch.prefix_length, self.config.max_new_tokens):
            self._step()
            if not len(self.batch.image):
                break
        self._finish_at_max_length()
        return [self._best(image) for image in range(self.batch.num_images)]

    def _step(self) -> None:
        batch = self.batch
        log_probs = batch.next_log_probs()
        # The diversity penalty changes the scores, but not the log-probabilities of the caption.
        scores = self.processors(batch.token_ids, log_probs.clone() if self.num_groups > 1 else log_probs, batch.image)
        groups = [self._choose(group, scores) for group in range(self.num_groups)]
        for group, chosen in enumerate(groups):
            self._finish_ended(chosen.ended, group, log_probs)
        beam = self._merge(groups, log_probs)
        if self.processors.may_block_end:
            self._finish_stuck(beam)
        if not self._is_greedy:  # greedy search ends with its first END, even where continuing would score better
            beam = beam.select(self._can_improve(beam))
        if self.num_groups > 1:
            beam = beam.select(torch.argsort(batch.image[beam.rows], stable=True))
        self.group = beam.group
        batch.extend(beam.rows, beam.token_ids, beam.log_probs, distinct_rows=self._is_greedy)

    def _merge(self, groups: list[_Continuations], log_probs: Tensor) -> _Beam:
        rows, token_ids = torch.cat([c.rows for c in groups]), torch.cat([c.token_ids for c in groups])
        group = torch.cat([torch.full_like(c.rows, number) for number, c in enumerate(groups)])
        return _Beam(rows, token_ids, group, log_probs[rows, token_ids])

    def _choose(self, group: int, scores: Tensor) -> _Continuations:
        """The continuations of a group; penalises their tokens in ``scores`` (N, V), in place, for later groups."""
        # Before the first word is chosen an image has one hypothesis, from which all groups start.
        own = (self.group == group).nonzero().squeeze(1) if self.batch.has_generated and self.num_groups > 1 else None
        rows = torch.arange(len(scores), device=scores.device) if own is None else own
        if not len(rows):
            return _Continuations(rows, rows, rows)
        if self._is_greedy:
            return _argmax(scores)
        chosen = self._choose_within_banks(scores if own is None else scores[own], rows)
        if group + 1 < self.num_groups:
            self._penalise(chosen, scores)
        return chosen

    def _penalise(self, chosen: _Continuations, scores: Tensor) -> None:
        """Subtracts the diversity penalty from ``scores`` (N, V), in place, once for each hypothesis of the image that
        chose the token."""
        rows = torch.cat([chosen.rows, chosen.ended])
        token_ids = torch.cat([chosen.token_ids, torch.full_like(chosen.ended, END)])
        penalties = scores.new_zeros(self.batch.num_images, scores.shape[1])
        penalty = scores.new_tensor(self.config.diversity_penalty)
        penalties.index_put_((self.batch.image[rows], token_ids), penalty, accumulate=True)
        scores -= penalties[self.batch.image]

    def _choose_within_banks(self, scores: Tensor, rows: Tensor) -> _Continuations:
        """``scores`` (n, V) of the next tokens of the hypotheses ``rows`` (n,)."""
        values, token_ids = self._candidates(scores, self.batch.image[rows])  # (n, c)
        totals = values + self.batch.sum_log_probs[rows].unsqueeze(1)
        image, is_end = self.batch.image[rows], token_ids == END
        continued, ended = [], []
        for bank in self._banks(totals, rows, token_ids):
            # END counts where it is among the best `group_size` tokens; as many others continue beside it.
            n, c = _top_k_per_image(bank, image, self.group_size)
            ended.append(n[is_end[n, c]])
            continued.append(_top_k_per_image(bank.masked_fill(is_end, -torch.inf), image, self.group_size))
        n, c = (torch.cat(part) for part in zip(*continued, strict=True))
        if self.force_words:
            order = torch.argsort(image[n], stable=True)
            n, c = n[order], c[order]
        return _Continuations(rows[n], token_ids[n, c], rows[torch.cat(ended)])

    def _candidates(self, scores: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """scores (n, V), image (n,) → the scores and ids (n, c) of the best tokens and of the image's forced words,
        however improbable these are."""
        values, token_ids = scores.topk(min(self.group_size + 1, scores.shape[1]), dim=1)
        if self.force_words:
            forced = self.force_words.token_ids[image]  # (n, K)
            is_forced = (token_ids.unsqueeze(2) == forced.unsqueeze(1)).any(2)
            values = torch.cat([values.masked_fill(is_forced, -torch.inf), scores.gather(1, forced)], dim=1)
            token_ids = torch.cat([token_ids, forced], dim=1)
        return values, token_ids

    def _banks(self, totals: Tensor, rows: Tensor, token_ids: Tensor) -> list[Tensor]:
        """``totals`` (n, c) of the candidates for each bank, minus infinity where a candidate belongs to another."""
        if self.force_words is None:
            return [totals]
        image = self.batch.image[rows]
        fulfilled = self.force_words.fulfilled(self.batch.token_ids[rows], image)  # (n, m)
        fulfilled = fulfilled.unsqueeze(1) | self.force_words.membership[image.unsqueeze(1), token_ids]  # (n, c, m)
        bank = (fulfilled * 2 ** torch.arange(self.force_words.num_words, device=rows.device)).sum(2)  # (n, c)
        return [totals.masked_fill(bank != number, -torch.inf) for number in range(2**self.force_words.num_words)]

    def _finish_ended(self, rows: Tensor, group: int, log_probs: Tensor) -> None:
        if not len(rows):
            return
        batch, length = self.batch, self.batch.token_ids.shape[1]
        ends, totals = log_probs[rows, END].tolist(), batch.sum_log_probs[rows].tolist()
        for row, image, end, total in zip(rows.tolist(), batch.image[rows].tolist(), ends, totals, strict=True):
            hypothesis = Hypothesis(length, row, end, self._score(total + end, length + 1), "end")
            self._add(image * self.num_groups + group, hypothesis)

    def _finish_stuck(self, beam: _Beam) -> None:
        """The best hypothesis of a slot ends where none can be continued and none has ended."""
        batch = self.batch
        stuck = torch.zeros_like(self.worst_score, dtype=torch.bool)
        if batch.has_generated:
            stuck[batch.image * self.num_groups + self.group] = True
        else:
            stuck[:] = True
        stuck[batch.image[beam.rows] * self.num_groups + beam.group] = False
        for slot in (stuck & (self.worst_score == -torch.inf)).nonzero().squeeze(1).tolist():
            if self.finished[slot]:
                continue
            in_slot = batch.image == slot // self.num_groups
            if batch.has_generated:
                in_slot &= self.group == slot % self.num_groups
            row = int(torch.where(in_slot, batch.sum_log_probs, -torch.inf).argmax())
            self._add(slot, self._unended(row, "stuck"))

    def _can_improve(self, beam: _Beam) -> Tensor:
        """False where a hypothesis, however it continues, stays behind the ``num_per_group`` best that have ended.

        The sum of log-probabilities only falls, and the longest caption has the largest divisor, which gives an upper
        bound of the score. A hypothesis that is displaced by one that cannot improve cannot improve either.
        """
        worst = self.worst_score[self.batch.image[beam.rows] * self.num_groups + beam.group]
        if self.group_size == 1:  # a group of one ends with its first END, as greedy search does
            return worst == -torch.inf
        bound = (self.batch.sum_log_probs[beam.rows] + beam.log_probs) / self._divisor(self.config.max_new_tokens + 1)
        return bound > worst

    def _finish_at_max_length(self) -> None:
        """Adds unfinished hypotheses, best first, to the slots in which too few have ended."""
        batch = self.batch
        batch.close()
        complete = (self.processors.num_missing_words(batch.token_ids, batch.image) == 0).tolist()
        for row in sorted(range(len(batch.image)), key=lambda row: -float(batch.sum_log_probs[row])):
            slot = int(batch.image[row]) * self.num_groups + int(self.group[row])
            if complete[row] and len(self.finished[slot]) < self.num_per_group:
                self.finished[slot].append(self._unended(row, "length"))

    def _unended(self, row: int, reason: FinishReason) -> Hypothesis:
        total, length = float(self.batch.sum_log_probs[row]), self.batch.token_ids.shape[1]
        return Hypothesis(length, row, None, self._score(total, max(1, length)), reason)

    def _add(self, slot: int, hypothesis: Hypothesis) -> None:
        self.finished[slot].append(hypothesis)
        if len(self.finished[slot]) >= self.num_per_group:
            self.worst_score[slot] = _best_first(self.finished[slot])[self.num_per_group - 1].score

    def _best(self, image: int) -> list[Hypothesis]:
        groups = self.finished[image * self.num_groups : (image + 1) * self.num_groups]
        best = [hypothesis for group in groups for hypothesis in _best_first(group)[: self.num_per_group]]
        return _best_first(best)[: self.config.num_return_sequences]

    def _score(self, log_prob: float, length: int) -> float:
        return log_prob / self._divisor(length)

    def _divisor(self, length: int) -> float:
        """length^α, or ((5 + length) / 6)^α of Wu et al. 2016, equation 14, with α the length penalty."""
        base = (5 + length) / 6 if self.config.length_normalisation == "wu" else length
        return float(base**self.config.length_penalty)


def _best_first(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def _argmax(scores: Tensor) -> _Continuations:
    """The best token of each hypothesis, scores (N, V): what a group of one chooses, computed faster."""
    values, token_ids = scores.max(dim=1)
    possible = values > -torch.inf
    ended = (token_ids == END) & possible
    continued = (possible & ~ended).nonzero().squeeze(1)
    return _Continuations(continued, token_ids[continued], ended.nonzero().squeeze(1))


def _top_k_per_image(values: Tensor, image: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` greatest finite ``values`` (n, c) of each image, as rows and columns; ``image`` (n,) ascends.

    They are ordered by image, and within an image from the greatest to the least.
    """
    _, group, counts = torch.unique_consecutive(image, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(image), device=image.device) - first[group]
    padded = values.new_full((len(counts), int(counts.max()), values.shape[1]), -torch.inf)
    padded[group, rank] = values
    best, flat = padded.flatten(1).topk(min(k, padded[0].numel()), dim=1)
    which, place = (best > -torch.inf).nonzero(as_tuple=True)
    flat = flat[which, place]
    return first[which] + flat // values.shape[1], flat % values.shape[1]
