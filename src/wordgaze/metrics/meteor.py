"""METEOR 1.5 (Denkowski and Lavie 2014) for English, with two of its four kinds of match: exact words and stems.

The toolkit of the COCO caption evaluation also matches synonyms and paraphrases, from 60 MB of tables, and needs Java;
on Flickr8k its scores are about 0.017 higher. So the two numbers have two names: ``meteor`` is computed by this module,
``meteor_toolkit`` by the toolkit; the latter compares with published results.

Stems are those of nltk, which is part of the extra ``wordgaze[pipeline]``; without it METEOR is left out.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from heapq import nlargest
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

if TYPE_CHECKING:
    from nltk.stem.snowball import EnglishStemmer

ALPHA, _BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""Weight of recall; exponent and weight of the fragmentation penalty; weight of content words."""

STEM_WEIGHT = 0.6
"""Weight of a match of stems; an exact match has weight 1."""

BEAM = 40
"""Partial alignments that are kept at each word; only captions with many repetitions have more."""

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
    """METEOR with exact and stem matches. ``references[i]`` are all the references of image i, in lower case.

    An image adds the counts of the one reference that its caption fits best. Scores of single images are
    ``scores(statistics(captions))``; the score of a set is that of the sum, as in the toolkit. Raises ScoreError if
    nltk is not installed, if there is no image, or if an image has no reference.
    """

    columns = 6

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        refuse_unscorable(references)
        self._references = [[_sentence(words) for words in of_image] for of_image in references]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 6): see ``_Counts``. Raises ScoreError unless there is one caption per image."""
        refuse_misfit(candidates, len(self._references))
        rows = np.empty((len(candidates), len(_Counts._fields)))
        for i, (words, references) in enumerate(zip(candidates, self._references, strict=True)):
            caption = _sentence(words)
            counts = np.array([_compare(caption, reference) for reference in references], np.float64)
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
    matches: float
    chunks: float  # runs of matches that are adjacent in both, in the same order; 0 if all words match in one run


class _Sentence(NamedTuple):
    words: Tokens
    stems: list[str]
    weights: list[float]


def _sentence(words: Tokens) -> _Sentence:
    weights = [1 - DELTA if word in METEOR_FUNCTION_WORDS else DELTA for word in words]
    return _Sentence(words, [_stem(word) for word in words], weights)


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


def _compare(caption: _Sentence, reference: _Sentence) -> _Counts:
    """The counts of the best alignment: most exact matches, then fewest chunks, then most matches of stems.

    The paper gives a match of stems the weight one half and minimises a distance; the published scorer rounds that half
    down and prefers matches. This function finds what the scorer finds, except where the scorer cuts its own search
    short (at most 3 of 1,000 captions of Flickr8k).
    """
    best = _best_path(caption, reference)
    _, minus_chunks, matches = best.rank
    in_one_run = minus_chunks == -1 and matches == len(caption.words) == len(reference.words)
    return _Counts(
        caption_matched=best.caption_matched,
        reference_matched=best.reference_matched,
        caption_weight=sum(caption.weights),
        reference_weight=sum(reference.weights),
        matches=matches,
        chunks=0 if in_one_run else -minus_chunks,
    )


def _best_path(caption: _Sentence, reference: _Sentence) -> "_Path":
    """Extends partial alignments by the words of the reference, from left to right. A word that can be matched in one
    way only always is."""
    places = [[i for i, stem in enumerate(caption.stems) if stem == wanted] for wanted in reference.stems]
    claims = Counter(i for matching in places for i in matching)
    # By the used words of the caption (as bits), and the position after the last match, where a chunk would continue.
    paths = {(0, -1): _Path((0, 0, 0), 0.0, 0.0)}
    for j, matching in enumerate(places):
        certain = len(matching) == 1 and claims[matching[0]] == 1
        extended: dict[tuple[int, int], _Path] = {}
        for (used, end), path in paths.items():
            options = [((used | 1 << i, i + 1), path.extended(caption, reference, i, j, i != end))
                       for i in matching if not used >> i & 1]  # fmt: skip
            for state, option in options if certain else [((used, -1), path), *options]:
                if state not in extended or option.rank > extended[state].rank:
                    extended[state] = option
        paths = extended
        if len(paths) > BEAM:
            paths = dict(nlargest(BEAM, paths.items(), key=lambda item: item[1].rank))
    return max(paths.values(), key=lambda path: path.rank)


class _Path(NamedTuple):
    rank: tuple[int, int, int]  # exact matches, minus chunks, matches
    caption_matched: float
    reference_matched: float

    def extended(self, caption: _Sentence, reference: _Sentence, i: int, j: int, new_chunk: bool) -> "_Path":
        """This path with word i of the caption matched to word j of the reference."""
        exact, chunks, matches = self.rank
        same = caption.words[i] == reference.words[j]
        weight = 1.0 if same else STEM_WEIGHT
        return _Path(
            (exact + same, chunks - new_chunk, matches + 1),
            self.caption_matched + weight * caption.weights[i],
            self.reference_matched + weight * reference.weights[j],
        )


def toolkit_meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float | None:
    """METEOR of the COCO toolkit, with all four kinds of match; None where the toolkit or Java is not installed.

    Raises ScoreError on a misfit, and if the toolkit's Java process fails.
    """
    refuse_unscorable(references)
    refuse_misfit(candidates, len(references))
    if shutil.which("java") is None:
        return None
    try:
        toolkit: Any = import_module("pycocoevalcap.meteor.meteor")
    except ModuleNotFoundError:
        return None
    captions = {i: [" ".join(words)] for i, words in enumerate(candidates)}
    truths = {i: [" ".join(words) for words in of_image] for i, of_image in enumerate(references)}
    scorer = toolkit.Meteor()
    try:
        return float(scorer.compute_score(truths, captions)[0])
    except (OSError, ValueError) as error:
        raise ScoreError(f"METEOR of pycocoevalcap failed ({error}); check that Java works: java -version") from error
    finally:
        if scorer.lock.locked():  # a failure leaves it locked, and the destructor of the toolkit would wait for it
            scorer.lock.release()
        for pipe in (scorer.meteor_p.stdin, scorer.meteor_p.stdout, scorer.meteor_p.stderr):
            with suppress(OSError):
                pipe.close()
