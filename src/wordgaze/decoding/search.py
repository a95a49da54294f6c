"""Greedy and beam search, batched over pictures and beams. Keys are computed once a picture, never copied per beam."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wordgaze.decoding.base import Caption
from wordgaze.errors import ModelError
from wordgaze.model.decoder import Decoder, Memory, State
from wordgaze.params import DecodeParams
from wordgaze.text.vocabulary import END, PAD, START, UNK, Vocabulary


@torch.inference_mode()
def search(decoder: Decoder, features: Tensor, vocabulary: Vocabulary, params: DecodeParams) -> list[list[Caption]]:
    """Captions of each picture, best first: ``params.num`` of them. features: (B, L, channels).

    Greedy search is a beam of width one. Raises ModelError where the decoder gives NaN.
    """
    width = params.beam_width if params.strategy == "beam" else 1
    beams = _Beams(decoder, decoder.look(features), width, params)
    for _ in range(params.max_length):
        if not beams.advance():
            break
    return [[_caption(h, vocabulary) for h in hypotheses[: params.num]] for hypotheses in beams.finish(len(features))]


@dataclass(frozen=True)
class _Hypothesis:
    words: Tensor  # (T,)
    log_probs: Tensor  # (T,) of each word, END included
    weights: Tensor  # (T, L)
    score: float
    ended: bool


class _Beams:
    """The open hypotheses of the pictures that still have some, ``width`` rows a picture, and the closed ones."""

    def __init__(self, decoder: Decoder, memory: Memory, width: int, params: DecodeParams) -> None:
        batch, cells, _ = memory.features.shape
        device = memory.features.device
        self.decoder, self.memory, self.width, self.params = decoder, memory, width, params
        self.pictures = list(range(batch))
        self.closed: dict[int, list[_Hypothesis]] = {picture: [] for picture in self.pictures}
        self.state = decoder.start(memory, width)
        self.words = torch.full((batch, width, 0), PAD, device=device)
        self.log_probs = torch.zeros(batch, width, 0, device=device)
        self.weights = torch.zeros(batch, width, 0, cells, device=device)
        # Only the first row is real before the first word: all rows of a picture are equal then.
        self.totals = torch.full((batch, width), -torch.inf, device=device)
        self.totals[:, 0] = 0.0

    def advance(self) -> bool:
        """One word further. False once no open hypothesis can win any more."""
        batch, width = self.totals.shape
        last = self.words[:, :, -1] if self.words.shape[2] else torch.full_like(self.totals, START, dtype=torch.long)
        logits, state, weights = self.decoder.step(last.flatten(), self.state, self.memory)
        log_probs = torch.log_softmax(logits.float(), dim=-1).view(batch, width, -1)
        if torch.isnan(log_probs).any():
            raise ModelError("the decoder gives NaN; its weights or the features are broken, train again")
        log_probs[:, :, [PAD, START, UNK]] = -torch.inf
        totals = self.totals.unsqueeze(2) + log_probs
        # END may take up to `width` of the best places, so twice as many leave `width` open ones.
        best, flat = totals.flatten(1).topk(min(2 * width, totals[0].numel()), dim=1)
        rows, words = flat // log_probs.shape[2], flat % log_probs.shape[2]
        self._close(best, rows, words, log_probs)
        best = best.masked_fill(words == END, -torch.inf)
        self.totals, kept = best.topk(width, dim=1)
        rows, words = rows.gather(1, kept), words.gather(1, kept)
        self._follow(rows, words, log_probs, weights.float().view(batch, width, -1), state)
        return self._drop_decided()

    def finish(self, batch: int) -> list[list[_Hypothesis]]:
        """Closed hypotheses of every picture, best first; open ones fill up where too few have ended."""
        for i, picture in enumerate(self.pictures):
            for row in range(self.width):
                total = float(self.totals[i, row])
                if total > -torch.inf and len(self.closed[picture]) < self.params.num:
                    self.closed[picture].append(self._hypothesis(i, row, total))
        for hypotheses in self.closed.values():
            hypotheses.sort(key=lambda h: -h.score)
        return [self.closed[picture] for picture in range(batch)]

    def _close(self, best: Tensor, rows: Tensor, words: Tensor, log_probs: Tensor) -> None:
        ended = (words == END) & (best > -torch.inf)
        ended[:, self.width :] = False  # END counts only where it is among the best `width`
        for i, place in ended.nonzero().tolist():
            row = int(rows[i, place])
            total = float(best[i, place])
            last = log_probs[i, row, END].view(1)
            hypothesis = _Hypothesis(
                self.words[i, row],
                torch.cat([self.log_probs[i, row], last]),
                self.weights[i, row],
                self._score(total, self.words.shape[2] + 1),
                ended=True,
            )
            self.closed[self.pictures[i]].append(hypothesis)

    def _follow(self, rows: Tensor, words: Tensor, log_probs: Tensor, weights: Tensor, state: State) -> None:
        batch, width = rows.shape
        flat = (rows + torch.arange(batch, device=rows.device).unsqueeze(1) * width).flatten()
        self.state = State(*(part[flat] for part in state))
        said = log_probs.flatten(0, 1)[flat].gather(1, words.view(-1, 1)).view(batch, width, 1)
        self.words = torch.cat([_pick(self.words, flat), words.unsqueeze(2)], dim=2)
        self.log_probs = torch.cat([_pick(self.log_probs, flat), said], dim=2)
        self.weights = torch.cat([_pick(self.weights, flat), _pick(weights, flat).unsqueeze(2)], dim=2)

    def _drop_decided(self) -> bool:
        """Lets go of pictures whose open hypotheses cannot reach the ``num`` best closed ones."""
        length = self.params.max_length + 1
        open_ = []
        for i, picture in enumerate(self.pictures):
            closed = sorted((h.score for h in self.closed[picture]), reverse=True)
            # Totals only fall, and the longest caption is divided by most: an upper bound of what is still to come.
            bound = self._score(float(self.totals[i, 0]), length)
            # Width one is greedy search, which is over at its first END, even where going on would score better.
            if len(closed) < self.params.num or (self.width > 1 and bound > closed[self.params.num - 1]):
                open_.append(i)
        if len(open_) < len(self.pictures):
            self._keep(open_)
        return bool(open_)

    def _keep(self, open_: list[int]) -> None:
        kept = torch.tensor(open_, dtype=torch.long, device=self.totals.device)
        rows = (kept.unsqueeze(1) * self.width + torch.arange(self.width, device=kept.device)).flatten()
        self.pictures = [self.pictures[i] for i in open_]
        self.memory = Memory(*(part[kept] for part in self.memory))
        self.state = State(*(part[rows] for part in self.state))
        self.words, self.log_probs, self.weights = self.words[kept], self.log_probs[kept], self.weights[kept]
        self.totals = self.totals[kept]

    def _hypothesis(self, i: int, row: int, total: float) -> _Hypothesis:
        words = self.words[i, row]
        score = self._score(total, len(words))
        return _Hypothesis(words, self.log_probs[i, row], self.weights[i, row], score, ended=False)

    def _score(self, total: float, length: int) -> float:
        return total / float(length**self.params.length_penalty)


def _pick(rows: Tensor, flat: Tensor) -> Tensor:
    return rows.flatten(0, 1)[flat].view(rows.shape)


def _caption(hypothesis: _Hypothesis, vocabulary: Vocabulary) -> Caption:
    words: Sequence[int] = hypothesis.words.tolist()
    log_probs = hypothesis.log_probs.tolist()
    return Caption(
        words=tuple(vocabulary.words[i] for i in words),
        log_prob=sum(log_probs),
        score=hypothesis.score,
        word_log_probs=tuple(log_probs[: len(words)]),
        weights=hypothesis.weights.cpu().numpy(),
        ended="end" if hypothesis.ended else "length",
    )
