"""Beam search, and what is a kind of it: greedy, diverse beams in groups, constrained beams in banks.

A picture has ``groups`` of hypotheses (Vijayakumar et al. 2016): within a step a group avoids the words that earlier
groups have just chosen. With m required words a group has 2^m banks (Anderson et al. 2017), one for each subset that
has been said; hypotheses compete within their bank, so that those who have said a required word are not driven out by
likelier ones that have not.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.hypotheses import Hypothesis, HypothesisTree
from wordgaze.generation.logits_process import LogitsProcessor
from wordgaze.generation.outputs import FinishReason
from wordgaze.text.vocabulary import END


@dataclass(frozen=True)
class _Chosen:
    rows: Tensor  # (M,) the hypotheses that go on
    words: Tensor  # (M,)
    ended: Tensor  # (E,) the hypotheses that END is among the best for


class BeamSearch:
    """Runs over the hypotheses of a tree and returns the hypotheses of each picture, best first."""

    def __init__(self, tree: HypothesisTree, constraints: LogitsProcessor, params: GenerationConfig) -> None:
        self.tree, self.constraints, self.params = tree, constraints, params
        self.groups = params.num_beam_groups if params.strategy == "diverse" else 1
        self.width = 1 if params.strategy == "greedy" else params.num_beams // self.groups
        self.num = math.ceil(params.num_return_sequences / self.groups)  # captions a group
        self.group = torch.zeros_like(tree.picture)
        self.hypotheses: list[list[Hypothesis]] = [[] for _ in range(tree.count * self.groups)]
        # What an open hypothesis of a picture's group has to beat.
        self.bar = torch.full((tree.count * self.groups,), -torch.inf, device=tree.device)

    @property
    def _is_greedy(self) -> bool:
        return self.width == self.groups == 1 and not self.constraints.required

    def run(self) -> list[list[Hypothesis]]:
        """Goes on while any open hypothesis can still be among the best, at most to the maximum length."""
        for _ in range(self.tree.begun, self.params.max_new_tokens):
            self._advance()
            if not len(self.tree.picture):
                break
        self._fill_up()
        return [self._best_of(picture) for picture in range(self.tree.count)]

    def _advance(self) -> None:
        tree = self.tree
        log_probs = tree.expand()
        free = log_probs.clone() if self.groups > 1 else log_probs  # the penalty below is no probability
        self.constraints.strike(free, tree.words)
        chosen = [self._choose(group, free) for group in range(self.groups)]
        group = torch.cat([torch.full_like(c.rows, number) for number, c in enumerate(chosen)])
        for number, c in enumerate(chosen):
            self._close(c.ended, number, log_probs)
        rows, words = torch.cat([c.rows for c in chosen]), torch.cat([c.words for c in chosen])
        gain = log_probs[rows, words]
        if self.constraints.can_stick:
            self._close_stuck(rows, group)
        if not self._is_greedy:  # which ends with its first END, even where going on would score better
            going = self._can_win(rows, group, gain)
            rows, words, group, gain = rows[going], words[going], group[going], gain[going]
        if self.groups > 1:
            order = torch.argsort(tree.picture[rows], stable=True)
            rows, words, group, gain = rows[order], words[order], group[order], gain[order]
        self.group = group
        tree.grow(rows, words, gain, apart=self._is_greedy)

    def _choose(self, group: int, free: Tensor) -> _Chosen:
        tree = self.tree
        # Before a word is chosen there is one hypothesis a picture, from which all groups start.
        mine = (self.group == group).nonzero().squeeze(1) if tree.parted and self.groups > 1 else None
        scores = free if mine is None else free[mine]
        rows = torch.arange(len(free), device=free.device) if mine is None else mine
        if not len(rows):
            return _Chosen(rows, rows, rows)
        chosen = _likeliest(scores) if self._is_greedy else self._within_banks(scores, rows)
        if group + 1 < self.groups:
            repelled = free.new_zeros(tree.count, free.shape[1])
            rows = torch.cat([chosen.rows, chosen.ended])
            words = torch.cat([chosen.words, torch.full_like(chosen.ended, END)])
            cost = free.new_tensor(self.params.diversity_penalty)
            repelled.index_put_((tree.picture[rows], words), cost, accumulate=True)
            free -= repelled[tree.picture]
        return chosen

    def _within_banks(self, scores: Tensor, rows: Tensor) -> _Chosen:
        """``scores`` (n, V) of the next words of the hypotheses ``rows`` (n,)."""
        constraints = self.constraints
        values, words = scores.topk(min(self.width + 1, scores.shape[1]), dim=1)
        if constraints.required:  # the required words are candidates however unlikely they are
            extra = constraints.forms.expand(len(rows), -1)
            fresh = ~(words.unsqueeze(2) == extra.unsqueeze(1)).any(2)
            values = torch.cat([values.masked_fill(~fresh, -torch.inf), scores.gather(1, extra)], dim=1)
            words = torch.cat([words, extra], dim=1)
        totals = values + self.tree.total[rows].unsqueeze(1)
        picture, end = self.tree.picture[rows], words == END
        going, ended = [], []
        for here in self._banks(totals, rows, words):
            # END counts where it is among the best `width`; as many others go on beside it.
            n, c = _best(here, picture, self.width)
            ended.append(n[end[n, c]])
            going.append(_best(here.masked_fill(end, -torch.inf), picture, self.width))
        n, c = (torch.cat(part) for part in zip(*going, strict=True))
        if constraints.required:
            order = torch.argsort(picture[n], stable=True)
            n, c = n[order], c[order]
        return _Chosen(rows[n], words[n, c], rows[torch.cat(ended)])

    def _banks(self, totals: Tensor, rows: Tensor, words: Tensor) -> list[Tensor]:
        """``totals`` (n, c) of candidates once for each bank, minus infinity where a candidate comes to another."""
        constraints = self.constraints
        if not constraints.required:
            return [totals]
        said = constraints.said(self.tree.words[rows])  # (n, m)
        powers = 2 ** torch.arange(constraints.required, device=rows.device)
        bank = ((said.unsqueeze(1) | constraints.owner[words]) * powers).sum(2)  # (n, c)
        return [totals.masked_fill(bank != number, -torch.inf) for number in range(2**constraints.required)]

    def _close(self, rows: Tensor, group: int, log_probs: Tensor) -> None:
        if not len(rows):
            return
        ends, totals = log_probs[rows, END].tolist(), self.tree.total[rows].tolist()
        length = self.tree.words.shape[1] + 1
        for row, picture, end, total in zip(rows.tolist(), self.tree.picture[rows].tolist(), ends, totals, strict=True):
            hypothesis = Hypothesis(length - 1, row, end, self._score(total + end, length), "end")
            self._add(picture * self.groups + group, hypothesis)

    def _close_stuck(self, rows: Tensor, group: Tensor) -> None:
        """A group that has no word to go on with, and none of whose hypotheses has ended, ends where it stands."""
        tree = self.tree
        lost = torch.zeros_like(self.bar, dtype=torch.bool)
        if tree.parted:
            lost[tree.picture * self.groups + self.group] = True
        else:
            lost[:] = True
        lost[tree.picture[rows] * self.groups + group] = False
        for place in (lost & (self.bar == -torch.inf)).nonzero().squeeze(1).tolist():
            if self.hypotheses[place]:
                continue
            mine = tree.picture == place // self.groups
            if tree.parted:
                mine &= self.group == place % self.groups
            row = int(torch.where(mine, tree.total, -torch.inf).argmax())
            self._add(place, self._open_hypothesis(row, "stuck"))

    def _can_win(self, rows: Tensor, group: Tensor, gain: Tensor) -> Tensor:
        """False where a hypothesis, however it goes on, stays behind the ``num`` best that have ended.

        Totals only fall, and the longest caption is divided by most: a bound of all that is still to come. What is
        driven out by a hypothesis that cannot win has a lower total and cannot win either, so nothing is lost.
        """
        bar = self.bar[self.tree.picture[rows] * self.groups + group]
        if self.width == 1:  # greedy search is over at its first END, even where going on would score better
            return bar == -torch.inf
        bound = (self.tree.total[rows] + gain) / self._norm(self.params.max_new_tokens + 1)
        return bound > bar

    def _fill_up(self) -> None:
        """Open hypotheses, best first, where too few have ended."""
        tree = self.tree
        tree.finish()
        done = self.constraints.said(tree.words).all(1).tolist()  # all, where nothing is required
        order = sorted(range(len(tree.picture)), key=lambda row: -float(tree.total[row]))
        for row in order:
            place = int(tree.picture[row]) * self.groups + int(self.group[row])
            if done[row] and len(self.hypotheses[place]) < self.num:
                self.hypotheses[place].append(self._open_hypothesis(row, "length"))

    def _open_hypothesis(self, row: int, ended: FinishReason) -> Hypothesis:
        total, length = float(self.tree.total[row]), self.tree.words.shape[1]
        return Hypothesis(length, row, None, self._score(total, max(1, length)), ended)

    def _add(self, place: int, hypothesis: Hypothesis) -> None:
        self.hypotheses[place].append(hypothesis)
        if len(self.hypotheses[place]) >= self.num:
            self.bar[place] = sorted((known.score for known in self.hypotheses[place]), reverse=True)[self.num - 1]

    def _best_of(self, picture: int) -> list[Hypothesis]:
        groups = self.hypotheses[picture * self.groups : (picture + 1) * self.groups]
        best = [
            hypothesis
            for group in groups
            for hypothesis in sorted(group, key=lambda hypothesis: -hypothesis.score)[: self.num]
        ]
        return sorted(best, key=lambda hypothesis: -hypothesis.score)[: self.params.num_return_sequences]

    def _score(self, total: float, length: int) -> float:
        return total / self._norm(length)

    def _norm(self, length: int) -> float:
        """What a log-probability is divided by: |Y|^α, or ((5 + |Y|) / 6)^α of Wu et al. 2016, equation 14."""
        base = (5 + length) / 6 if self.params.length_normalisation == "wu" else length
        return float(base**self.params.length_penalty)


def _likeliest(scores: Tensor) -> _Chosen:
    """Of ``scores`` (n, V) the best word of each hypothesis: a beam of width one, with less ado."""
    values, words = scores.max(dim=1)
    possible = values > -torch.inf
    ended = (words == END) & possible
    going = (possible & ~ended).nonzero().squeeze(1)
    return _Chosen(going, words[going], ended.nonzero().squeeze(1))


def _best(values: Tensor, picture: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The ``width`` best finite ``values`` (n, c) of each picture, as rows and columns; ``picture`` (n,) is ascending.

    They come ordered by picture, and within a picture best first.
    """
    _, owner, counts = torch.unique_consecutive(picture, return_inverse=True, return_counts=True)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(picture), device=picture.device) - first[owner]
    padded = values.new_full((len(counts), int(counts.max()), values.shape[1]), -torch.inf)
    padded[owner, rank] = values
    best, flat = padded.flatten(1).topk(min(width, padded[0].numel()), dim=1)
    which, place = (best > -torch.inf).nonzero(as_tuple=True)
    flat = flat[which, place]
    return first[which] + flat // values.shape[1], flat % values.shape[1]
