"""METEOR 1.5 (Denkowski and Lavie 2014) for English, under two names.

``meteor`` matches exact words and stems, and needs nothing but nltk, whose stemmer is part of the extra
``wordgaze[pipeline]``; without it METEOR is left out. ``meteor_toolkit`` is what the toolkit of the COCO caption
evaluation reports, and compares with published results: it also matches synonyms and paraphrases, and splits words as
METEOR's own tokenizer. Its tables are read where the package ``pycocoevalcap`` is installed. On Flickr8k it is about
0.017 higher. The names differ, so that ``meteor`` does not depend on what is installed.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.meteor_alignment import Match, best_alignment
from wordgaze.metrics.meteor_tables import MeteorTables, find_tables, toolkit_words
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

if TYPE_CHECKING:
    from nltk.stem.snowball import EnglishStemmer

ALPHA, _BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""Weight of recall; exponent and weight of the fragmentation penalty; weight of content words."""

EXACT_WEIGHT, STEM_WEIGHT, SYNONYM_WEIGHT, PARAPHRASE_WEIGHT = 1.0, 0.6, 0.8, 0.6
"""Weight of each kind of match."""

METEOR_FUNCTION_WORDS = frozenset(
    """
    the , . to of and a in that for " is on 's it with was as said at he by be from have has are his but an this not i
    will ’ they ) -rrb- ( -lrb- who their had we which were been more or s its would about new one after you : also up
    when there than $ all out her people she year two - can if last first “ over other ” into some what so -- no time
    years could ? 't — '
    """.split()
)
"""The English function words of METEOR 1.5: the words that are most frequent in text."""


def is_meteor_available() -> bool:
    """Whether nltk is installed."""
    return find_spec("nltk") is not None


class Meteor:
    """METEOR with exact and stem matches, and with ``tables`` also with synonyms and paraphrases.

    ``references[i]`` are all the references of image i, in lower case. An image adds the counts of the one reference
    that its caption fits best. Scores of single images are ``scores(statistics(captions))``; the score of a set is that
    of the sum, as in the toolkit. Raises ScoreError if nltk is not installed, if there is no image, or if an image has
    no reference.
    """

    columns = 6

    def __init__(self, references: Sequence[Sequence[Tokens]], tables: MeteorTables | None = None) -> None:
        refuse_unscorable(references)
        self._tables = tables
        self._references = [[_sentence(words, tables) for words in of_image] for of_image in references]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 6): see ``_Counts``. Raises ScoreError unless there is one caption per image."""
        refuse_misfit(candidates, len(self._references))
        rows = np.empty((len(candidates), len(_Counts._fields)))
        for i, (words, references) in enumerate(zip(candidates, self._references, strict=True)):
            caption = _sentence(words, self._tables)
            counts = np.array([_compare(caption, reference, self._tables) for reference in references], np.float64)
            rows[i] = counts[np.argmax(_score(counts))]
        return rows

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """``meteor``, 0…1: 0 where no word matches, an empty caption included, and 1 for the reference itself."""
        return {"meteor": _score(totals)}


class _Counts(NamedTuple):
    """The matches of a caption and a reference. A word has weight δ, a function word 1 - δ."""

    caption_matched: float  # sum over the caption's matched words: weight of the word times weight of the match
    reference_matched: float  # the same of the reference's words
    caption_weight: float
    reference_weight: float
    matches: float  # mean of the numbers of matched words in the caption and in the reference
    chunks: float  # runs of matches that are adjacent in both, in the same order; 0 if all words match in one run


class _Sentence(NamedTuple):
    words: Tokens
    stems: list[str]
    by_word: dict[str, list[int]]
    by_stem: dict[str, list[int]]
    weights: list[float]
    synsets: list[frozenset[str]]
    phrases: list[tuple[int, int, str]]  # those that have a paraphrase: start, length, text


def _sentence(words: Tokens, tables: MeteorTables | None) -> _Sentence:
    stems = [_stem(word) for word in words]
    return _Sentence(
        words,
        stems,
        _positions(words),
        _positions(stems),
        [1 - DELTA if word in METEOR_FUNCTION_WORDS else DELTA for word in words],
        [tables.synsets(word) for word in words] if tables else [],
        tables.phrases(words) if tables else [],
    )


def _positions(words: Tokens) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, word in enumerate(words):
        found.setdefault(word, []).append(i)
    return found


@cache
def _stemmer() -> "EnglishStemmer":
    try:
        from nltk.stem.snowball import EnglishStemmer
    except ModuleNotFoundError as error:
        raise ScoreError('METEOR needs nltk, which is not installed; run pip install "wordgaze[pipeline]"') from error
    return EnglishStemmer()


@cache
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


def _score(totals: Floats) -> Floats:
    """The formula of section 2.2 of the paper, over the last axis."""
    c = _Counts(*np.moveaxis(np.asarray(totals, np.float64), -1, 0))
    none = c.matches == 0
    weighted = (1 - ALPHA) * c.caption_weight * c.reference_matched + ALPHA * c.reference_weight * c.caption_matched
    f_mean = c.caption_matched * c.reference_matched / np.where(none, 1, weighted)
    fragments = c.chunks / np.where(none, 1, c.matches)
    return np.asarray(f_mean * (1 - GAMMA * fragments**_BETA))


def _compare(caption: _Sentence, reference: _Sentence, tables: MeteorTables | None) -> _Counts:
    """The counts of the best alignment.

    The paper gives every covered word the same value and minimises a distance. The published scorer does not: it counts
    a word of an exact match 1 and another word ½, rounded down for each match, ignores the distance and prefers more
    matches. This function finds what the scorer finds, but for captions of which several alignments are equally good,
    or of which the scorer cuts its search short: 3 of 1,000 with exact matches and stems, 25 of 1,000 with all kinds.
    """
    matches, chunks = best_alignment(_candidates(caption, reference, tables))
    caption_matched = reference_matched = 0.0
    in_caption = in_reference = 0
    for match in matches:
        i, j = match.caption_start, match.reference_start
        caption_matched += match.weight * sum(caption.weights[i : i + match.caption_length])
        reference_matched += match.weight * sum(reference.weights[j : j + match.reference_length])
        in_caption += match.caption_length
        in_reference += match.reference_length
    in_one_run = chunks == 1 and in_caption == len(caption.words) and in_reference == len(reference.words)
    return _Counts(
        caption_matched=caption_matched,
        reference_matched=reference_matched,
        caption_weight=sum(caption.weights),
        reference_weight=sum(reference.weights),
        matches=(in_caption + in_reference) / 2,
        chunks=0 if in_one_run else chunks,
    )


def _candidates(caption: _Sentence, reference: _Sentence, tables: MeteorTables | None) -> list[list[Match]]:
    """The matches that start at each word of the reference: exact ones, stems, synonyms, then paraphrases.

    Two words may match in several ways, each of which is a candidate.
    """
    found: list[list[Match]] = []
    for j, (word, stem) in enumerate(zip(reference.words, reference.stems, strict=True)):
        same = caption.by_word.get(word, [])
        stems = [i for i in caption.by_stem.get(stem, []) if i not in same]
        found.append([Match(i, 1, j, 1, EXACT_WEIGHT, 2) for i in same])
        found[j] += [Match(i, 1, j, 1, STEM_WEIGHT, 0) for i in stems]
        if tables and (synsets := reference.synsets[j]):
            synonyms = [i for i, other in enumerate(caption.synsets) if not synsets.isdisjoint(other) and i not in same]
            found[j] += [Match(i, 1, j, 1, SYNONYM_WEIGHT, 0) for i in synonyms]
    if tables:
        for j, length, phrase in sorted(reference.phrases, key=lambda found: -found[1]):
            for match in _paraphrases(caption, j, length, tables.paraphrases[phrase]):
                found[j].append(match)
    return found


def _paraphrases(caption: _Sentence, j: int, length: int, paraphrases: Mapping[str, int]) -> list[Match]:
    """The matches of the phrase of the reference at word j, the longest first."""
    return [
        Match(i, words, j, length, PARAPHRASE_WEIGHT, words // 2 + length // 2)
        for i, words, phrase in sorted(caption.phrases, key=lambda found: -found[1])
        for _ in range(paraphrases.get(phrase, 0))
    ]


def toolkit_meteor(systems: Mapping[str, Sequence[Tokens]], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """METEOR of the COCO toolkit by system, with all four kinds of match; empty where its tables or nltk are missing.

    Captions and references are tokenized and in lower case. Within 0.001 of the toolkit's score of a set of captions.
    Raises ScoreError on a misfit, and if the tables cannot be read.
    """
    refuse_unscorable(references)
    for captions in systems.values():
        refuse_misfit(captions, len(references))
    folder = find_tables()
    if folder is None or not is_meteor_available():
        return {}
    split = {name: [toolkit_words(words) for words in captions] for name, captions in systems.items()}
    truths = [[toolkit_words(words) for words in of_image] for of_image in references]
    tables = MeteorTables(folder, [*chain(*split.values(), *truths)])
    meteor = Meteor(truths, tables)
    return {
        name: float(meteor.scores(meteor.statistics(captions).sum(axis=0))["meteor"])
        for name, captions in split.items()
    }
