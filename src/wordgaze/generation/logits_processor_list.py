"""The logits processors that the settings of generation ask for, as one list."""

import logging
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.logits_process import (
    BadWordsLogitsProcessor,
    ForceWordsLogitsProcessor,
    LogitsProcessor,
    MinNewTokensLogitsProcessor,
    NoDanglingEndLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
)
from wordgaze.generation.naming import ExcludedWordsLogitsProcessor, ObjectName
from wordgaze.generation.phrases import (
    BadPhrasesLogitsProcessor,
    ForcePhrasesLogitsProcessor,
    TokenIds,
    WholeWordsLogitsProcessor,
    continuations,
)
from wordgaze.text.vocabulary import PAD, SPECIAL, START, UNK, Vocabulary

_log = logging.getLogger(__name__)


class LogitsProcessorList:
    """Applies processors in order.

    ``force_words`` is the processor of the forced words, which beam search asks for its banks; None if there are none.
    ``may_block_end``: whether a processor ever forbids END. If none does, every hypothesis has a way to continue.
    """

    def __init__(
        self, processors: Sequence[LogitsProcessor], force_words: ForceWordsLogitsProcessor | None, may_block_end: bool
    ) -> None:
        self.processors, self.force_words, self.may_block_end = tuple(processors), force_words, may_block_end

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        """token_ids (N, t), log_probs (N, V), changed in place and returned; image (N,)."""
        for processor in self.processors:
            log_probs = processor(token_ids, log_probs, image)
        return log_probs

    def num_missing_words(self, token_ids: Tensor, image: Tensor) -> Tensor:
        """token_ids (N, t), image (N,) → the number of tokens of forced words that each hypothesis lacks, (N,)."""
        if self.force_words is None:
            return torch.zeros(len(token_ids), dtype=torch.long, device=token_ids.device)
        return self.force_words.num_missing(token_ids, image)


def build_logits_processors(
    config: GenerationConfig,
    vocabulary: Vocabulary,
    device: torch.device,
    names: Sequence[ObjectName | None] = (None,),
) -> LogitsProcessorList:
    """The processors that ``config`` asks for. Words of ``bad_words`` that the vocabulary lacks are ignored.

    ``names``: of each of the B images the name that its captions must have, or None.
    Raises ParamsError for an entry of ``force_words`` that the vocabulary lacks or that ``bad_words`` forbids.
    """
    bad_phrases = _phrases(config.bad_words, vocabulary)
    bad_words = [phrase[0] for phrase in bad_phrases if len(phrase) == 1]
    processors: list[LogitsProcessor] = [BadWordsLogitsProcessor([PAD, START, UNK, *bad_words], device)]
    if any(len(phrase) > 1 for phrase in bad_phrases):
        processors.append(BadPhrasesLogitsProcessor([phrase for phrase in bad_phrases if len(phrase) > 1], device))
    if any(names):
        processors.append(ExcludedWordsLogitsProcessor(names, vocabulary, device))
    if config.min_new_tokens:
        processors.append(MinNewTokensLogitsProcessor(config.min_new_tokens))
    if config.no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.no_dangling_end:
        if not vocabulary.function_words:
            _warn_of_dangling_ends(vocabulary.tokenizer.name)
        dangling = _token_ids(sorted(vocabulary.function_words), vocabulary)
        processors.append(NoDanglingEndLogitsProcessor(dangling, config.max_new_tokens, device))
    forced = [_known_alternatives(entry, vocabulary, bad_phrases) for entry in config.force_words]
    force_words = _force_words(forced, names, vocabulary, config.max_new_tokens, device)
    processors += [force_words] if force_words else []
    if forced and not vocabulary.tokenizer.has_words:
        processors.append(_whole_words(forced, vocabulary, device))
    may_block_end = bool(config.min_new_tokens or config.no_dangling_end or force_words)
    return LogitsProcessorList(processors, force_words, may_block_end)


def _force_words(
    forced: Sequence[Sequence[TokenIds]],
    names: Sequence[ObjectName | None],
    vocabulary: Vocabulary,
    max_new_tokens: int,
    device: torch.device,
) -> ForceWordsLogitsProcessor | None:
    if any(len(phrase) > 1 for of_word in forced for phrase in of_word):
        return ForcePhrasesLogitsProcessor(forced, len(names), len(vocabulary), max_new_tokens, device)
    if not forced and not any(name and name.forms for name in names):
        return None
    words = [[phrase[0] for phrase in of_word] for of_word in forced]
    alternatives = [[*words, *_forms(name, vocabulary)] for name in names]
    return ForceWordsLogitsProcessor(alternatives, len(vocabulary), max_new_tokens, device)


def _whole_words(
    forced: Sequence[Sequence[TokenIds]], vocabulary: Vocabulary, device: torch.device
) -> WholeWordsLogitsProcessor:
    """Keeps forced words from becoming longer words, but those that are forced too."""
    phrases = [phrase for of_word in forced for phrase in of_word]
    longer = [
        {other[len(phrase)] for other in phrases if other[: len(phrase)] == phrase != other} for phrase in phrases
    ]
    ids = [sorted({*continuations(vocabulary, phrase)} - kept) for phrase, kept in zip(phrases, longer, strict=True)]
    return WholeWordsLogitsProcessor(phrases, ids, device)


def _forms(name: ObjectName | None, vocabulary: Vocabulary) -> list[list[int]]:
    return [_token_ids(name.forms, vocabulary)] if name and name.forms else []


def _token_ids(words: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    return [vocabulary.index[word] for word in words if word in vocabulary.index and word not in SPECIAL]


def _phrases(words: Sequence[str], vocabulary: Vocabulary) -> list[TokenIds]:
    """The token ids of each word whose tokens the vocabulary has."""
    tokenizer = vocabulary.tokenizer
    tokens = [[word] if tokenizer.is_english else tokenizer.tokenize(word) for word in words]
    ids = [tuple(_token_ids(of_word, vocabulary)) for of_word in tokens]
    return [phrase for phrase, of_word in zip(ids, tokens, strict=True) if phrase and len(phrase) == len(of_word)]


def _known_alternatives(entry: str, vocabulary: Vocabulary, bad_phrases: Sequence[TokenIds]) -> list[TokenIds]:
    alternatives = _phrases(entry.split("|"), vocabulary)
    if not set(alternatives) - set(bad_phrases):
        raise ParamsError(
            f"force_words: {entry!r} is not in the vocabulary of the captioner, or is in bad_words; use another"
        )
    return alternatives


@cache
def _warn_of_dangling_ends(tokenizer: str) -> None:
    """Says once that a setting has no effect."""
    _log.warning("no_dangling_end knows English words only, and does nothing with the tokenizer %s", tokenizer)
