"""Greedy and beam search in numpy, one image at a time, for a decoder that PyTorch does not run.

The rules are those of :class:`wordgaze.generation.beam_search.BeamSearch`, and the tests compare the captions of both.
Other strategies, forced words and names of objects need PyTorch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import FinishReason
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary

FloatArray: TypeAlias = npt.NDArray[np.float32]

NUMPY_STRATEGIES = ("greedy", "beam")
UNSUPPORTED = ("force_words", "name_objects")
"""The fields of GenerationConfig that must be empty or off."""


class NumpyStepOutput(NamedTuple):
    """``logits`` (R, V) of the next word, attention ``weights`` (R, L) of it, and the new ``states`` (R, H) each."""

    logits: FloatArray
    weights: FloatArray
    states: tuple[FloatArray, ...]


class NumpyStepModel(Protocol):
    """A decoder that has encoded one image."""

    def init_state(self) -> tuple[FloatArray, ...]:
        """The states (1, H) before the first word."""
        ...

    def step(self, words: npt.NDArray[np.int64], step: int, states: tuple[FloatArray, ...]) -> NumpyStepOutput:
        """The last words (R,), the number of words so far, and their states (R, H) → the next step."""
        ...


@dataclass(frozen=True)
class FoundCaption:
    """A finished hypothesis of T words. ``weights`` are T arrays (L,); ``end_log_prob`` is None without END."""

    token_ids: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    weights: tuple[FloatArray, ...] = ()
    end_log_prob: float | None = None
    score: float = 0.0
    finish_reason: FinishReason = "end"


class _Row(NamedTuple):
    """An unfinished hypothesis; ``total`` is the sum of its log-probabilities in single precision, as in BeamSearch."""

    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    weights: tuple[FloatArray, ...]
    total: np.float32

    def extended(self, token_id: int, log_prob: np.float32, weights: FloatArray) -> "_Row":
        ids, log_probs = (*self.token_ids, token_id), (*self.log_probs, float(log_prob))
        return _Row(ids, log_probs, (*self.weights, weights), np.float32(self.total + log_prob))

    def finished(self, end: float | None, score: float, reason: FinishReason) -> FoundCaption:
        return FoundCaption(self.token_ids, self.log_probs, self.weights, end, score, reason)


class NumpySearch:
    """The search for the captions of one image. Raises ParamsError for settings that need PyTorch."""

    def __init__(self, model: NumpyStepModel, vocabulary: Vocabulary, config: GenerationConfig) -> None:
        check_supported(config)
        self.model, self.config = model, config
        self.width = 1 if config.strategy == "greedy" else config.num_beams
        self.bad_words = [ids for word in config.bad_words if (ids := _token_ids(word, vocabulary))]
        dangling = vocabulary.function_words if config.no_dangling_end else frozenset()
        self.dangling = sorted(vocabulary.index[word] for word in dangling if word in vocabulary.index)
        self.rows = [_Row((), (), (), np.float32(0))]
        self.found: list[FoundCaption] = []

    def run(self) -> list[FoundCaption]:
        """The captions, best first. Raises ModelError where the decoder returns NaN."""
        states = self.model.init_state()
        for length in range(self.config.max_new_tokens):
            last = np.array([row.token_ids[-1] if row.token_ids else START for row in self.rows], np.int64)
            output = self.model.step(last, length, states)
            parents = self._extend(_log_softmax(output.logits), output.weights)
            states = tuple(part[parents] for part in output.states)
            if not self.rows:
                break
        wanted = self.config.num_return_sequences
        for row in sorted(self.rows, key=lambda row: -row.total):
            if len(self.found) < wanted:
                score = self._score(float(row.total), max(1, len(row.token_ids)))
                self.found.append(row.finished(None, score, "length"))
        return _ranked(self.found)[:wanted]

    def _extend(self, log_probs: FloatArray, weights: FloatArray) -> list[int]:
        """Replaces the rows by their best continuations, log_probs (R, V); returns the parent of each."""
        scores = self._allowed(log_probs)
        best = _top_k(scores, min(self.width + 1, scores.shape[1]))  # of each row: what follows cannot need more
        totals = np.array([row.total for row in self.rows], np.float32)[:, None]
        candidates = [(totals[r, 0] + scores[r, i], r, int(i)) for r, ids in enumerate(best) for i in ids]
        candidates = [each for each in candidates if each[0] > -np.inf]
        candidates.sort(key=lambda each: -each[0])
        for _, r, token_id in candidates[: self.width]:  # END counts where it is among the best
            if token_id == END:
                end = float(log_probs[r, END])
                score = self._score(float(self.rows[r].total) + end, len(self.rows[r].token_ids) + 1)
                self.found.append(self.rows[r].finished(end, score, "end"))
        kept = [each for each in candidates if each[2] != END][: self.width]
        if not kept and not self.found:
            row = max(self.rows, key=lambda row: row.total)
            score = self._score(float(row.total), max(1, len(row.token_ids)))
            self.found.append(row.finished(None, score, "stuck"))
        rows = [(r, self.rows[r].extended(i, log_probs[r, i], weights[r])) for _, r, i in kept]
        rows = [each for each in rows if self._can_improve(each[1])]
        self.rows = [row for _, row in rows]
        return [r for r, _ in rows]

    def _allowed(self, log_probs: FloatArray) -> FloatArray:
        """log_probs (R, V) with minus infinity for the words that must not follow."""
        scores, config = log_probs.copy(), self.config
        scores[:, [PAD, START, UNK]] = -np.inf
        for row, own in zip(self.rows, scores, strict=True):
            if len(row.token_ids) < config.min_new_tokens:
                own[END] = -np.inf
            own[_repeating(row.token_ids, config.no_repeat_ngram_size)] = -np.inf
            own[[last for *before, last in self.bad_words if _ends_with(row.token_ids, before)]] = -np.inf
            if row.token_ids and row.token_ids[-1] in self.dangling:
                own[END] = -np.inf
            if len(row.token_ids) == config.max_new_tokens - 1:
                own[self.dangling] = -np.inf
        return scores

    def _can_improve(self, row: _Row) -> bool:
        """False where a hypothesis stays behind those that have ended, however it continues."""
        if len(self.found) < self.config.num_return_sequences:
            return True
        if self.width == 1:
            return False
        worst = np.float32(_ranked(self.found)[self.config.num_return_sequences - 1].score)
        return bool(row.total / np.float32(self._divisor(self.config.max_new_tokens + 1)) > worst)

    def _score(self, log_prob: float, length: int) -> float:
        return log_prob / self._divisor(length)

    def _divisor(self, length: int) -> float:
        base = (5 + length) / 6 if self.config.length_normalisation == "wu" else length
        return float(base**self.config.length_penalty)


def check_supported(config: GenerationConfig) -> None:
    """Raises ParamsError that names the settings that need PyTorch."""
    wrong = [] if config.strategy in NUMPY_STRATEGIES else [f"strategy {config.strategy}"]
    wrong += [name for name in UNSUPPORTED if getattr(config, name)]
    if wrong:
        raise ParamsError(
            f"an exported captioner has no {' and no '.join(wrong)}; use strategy {' or '.join(NUMPY_STRATEGIES)},"
            " or the captioner that it was exported from"
        )


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if np.isnan(log_probs[:, 0]).any():
        raise ModelError("the decoder returns NaN; the model file is broken, export it again")
    return log_probs


def _top_k(scores: FloatArray, k: int) -> npt.NDArray[np.int64]:
    """The places (R, k) of the greatest values of each row, in any order."""
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]


def _repeating(token_ids: Sequence[int], size: int) -> list[int]:
    """The words that would complete an n-gram of ``size`` words that occurs already; none if ``size`` is 0."""
    if not size or len(token_ids) < size:
        return []
    last = tuple(token_ids[len(token_ids) - size + 1 :])
    places = range(len(token_ids) - size + 1)
    return [token_ids[i + size - 1] for i in places if tuple(token_ids[i : i + size - 1]) == last]


def _ends_with(token_ids: Sequence[int], last: Sequence[int]) -> bool:
    return not last or list(token_ids[-len(last) :]) == list(last)


def _token_ids(word: str, vocabulary: Vocabulary) -> list[int]:
    """The token ids of a word; none if the vocabulary lacks one of them."""
    tokenizer = vocabulary.tokenizer
    tokens = [word] if tokenizer.is_english else tokenizer.tokenize(word)
    known = [token for token in tokens if token in vocabulary.index and token not in SPECIAL]
    return [vocabulary.index[token] for token in known] if len(known) == len(tokens) else []


def _ranked(found: Sequence[FoundCaption]) -> list[FoundCaption]:
    return sorted(found, key=lambda caption: -caption.score)
