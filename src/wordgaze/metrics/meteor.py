"""METEOR 1.5 (Denkowski and Lavie 2014) in English, with two of its four ways to match a word: exact and by its stem.

The toolkit of the COCO caption evaluation also matches synonyms and paraphrases, from 60 MB of tables, and needs Java;
it gives captions of Flickr8k some 0.017 more. So the two numbers have two names: ``meteor`` is this module's, and
``meteor_toolkit`` the toolkit's, to be set beside published ones.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from heapq import nlargest
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

if TYPE_CHECKING:
    from nltk.stem.snowball import EnglishStemmer

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""Recall against precision; the form and the weight of the penalty of chunks; content against function words."""

STEM_WEIGHT = 0.6
"""What a match of stems counts; an exact one counts 1."""

BEAM = 40
"""Partial alignments that are kept at each word; only a caption with many repetitions has more."""

FUNCTION_WORDS = frozenset(
    """
    the , . to of and a in that for " is on 's it with was as said at he by be from have has are his but an this not i
    will ’ they ) -rrb- ( -lrb- who their had we which were been more or s its would about new one after you : also up
    when there than $ all out her people she year two - can if last first “ over other ” into some what so -- no time
    years could ? 't — '
    """.split()
)
"""What METEOR 1.5 takes for function words in English: its list of the words that are most frequent in text."""


class Meteor:
    """METEOR with exact and stem matches. ``references[i]`` are all the references of picture i, in lower case.

    A picture adds the counts of the one reference that its caption fits best. Scores of single pictures are
    ``scores(statistics(captions))``; the score of a set is that of the sum, as the toolkit has it. Raises ScoreError
    if there is no picture, or one has no reference.
    """

    columns = 6

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        refuse_unscorable(references)
        self._references = [[_sentence(words) for words in of_one] for of_one in references]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 6): see ``_Counts``. Raises ScoreError unless there is one caption a picture."""
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
    """What a caption and a reference have in common; words weigh δ, function words 1 - δ."""

    said: float  # weight of the caption's matched words, times that of the kind of match
    meant: float  # the same of the reference's words
    caption_weight: float
    reference_weight: float
    matches: float
    chunks: float  # runs of matches that are neighbours in both, in the same order; none if all words match in one run


class _Sentence(NamedTuple):
    words: Tokens
    stems: list[str]
    weights: list[float]


def _sentence(words: Tokens) -> _Sentence:
    weights = [1 - DELTA if word in FUNCTION_WORDS else DELTA for word in words]
    return _Sentence(words, [_stem(word) for word in words], weights)


@cache
def _stemmer() -> "EnglishStemmer":
    from nltk.stem.snowball import EnglishStemmer

    return EnglishStemmer()


@cache
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


def _score(totals: Floats) -> Floats:
    """The formula of the paper's section 2.2, over the last axis."""
    c = _Counts(*np.moveaxis(np.asarray(totals, np.float64), -1, 0))
    none = c.matches == 0
    weighted = (1 - ALPHA) * c.caption_weight * c.meant + ALPHA * c.reference_weight * c.said
    f_mean = c.said * c.meant / np.where(none, 1, weighted)
    fragments = c.chunks / np.where(none, 1, c.matches)
    return np.asarray(f_mean * (1 - GAMMA * fragments**BETA))


def _compare(caption: _Sentence, reference: _Sentence) -> _Counts:
    """The counts of the best alignment: most exact matches, then fewest chunks, then most matches of stems.

    Words that can match in one way alone always do. The paper weighs a match of stems one half and ends at the least
    distance; the published scorer rounds that half down, and its distance prefers to match: this is what it finds,
    save where it cuts its own search short (at most 3 of 1,000 captions of Flickr8k).
    """
    places = [[i for i, stem in enumerate(caption.stems) if stem == wanted] for wanted in reference.stems]
    claims = Counter(i for found in places for i in found)
    # By the caption's used words and the place after the last match, which a chunk would go on at.
    paths = {(0, -1): _Path((0, 0, 0), 0.0, 0.0)}
    for j, found in enumerate(places):
        certain = len(found) == 1 and claims[found[0]] == 1
        longer: dict[tuple[int, int], _Path] = {}
        for (used, end), path in paths.items():
            ways = [((used | 1 << i, i + 1), path.extended(caption, reference, i, j, i != end))
                    for i in found if not used >> i & 1]  # fmt: skip
            for state, way in ways if certain else [((used, -1), path), *ways]:
                if state not in longer or way.rank > longer[state].rank:
                    longer[state] = way
        paths = longer if len(longer) <= BEAM else dict(nlargest(BEAM, longer.items(), key=lambda item: item[1].rank))
    best = max(paths.values(), key=lambda path: path.rank)
    _, minus_chunks, matches = best.rank
    whole = minus_chunks == -1 and matches == len(caption.words) == len(reference.words)
    return _Counts(
        said=best.said,
        meant=best.meant,
        caption_weight=sum(caption.weights),
        reference_weight=sum(reference.weights),
        matches=matches,
        chunks=0 if whole else -minus_chunks,
    )


class _Path(NamedTuple):
    rank: tuple[int, int, int]  # exact matches, minus chunks, matches
    said: float
    meant: float

    def extended(self, caption: _Sentence, reference: _Sentence, i: int, j: int, new_chunk: bool) -> "_Path":
        """This path and the match of the caption's word i with the reference's word j."""
        exact, chunks, matches = self.rank
        same = caption.words[i] == reference.words[j]
        kind = 1.0 if same else STEM_WEIGHT
        return _Path(
            (exact + same, chunks - new_chunk, matches + 1),
            self.said + kind * caption.weights[i],
            self.meant + kind * reference.weights[j],
        )


def toolkit_meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float | None:
    """The score of the COCO toolkit's METEOR, all four ways to match; None where it or Java is not installed.

    Raises ScoreError on a misfit, and if the toolkit's Java process ends.
    """
    refuse_unscorable(references)
    refuse_misfit(candidates, len(references))
    if shutil.which("java") is None:
        return None
    try:
        toolkit: Any = import_module("pycocoevalcap.meteor.meteor")
    except ModuleNotFoundError:
        return None
    said = {i: [" ".join(words)] for i, words in enumerate(candidates)}
    truths = {i: [" ".join(words) for words in of_one] for i, of_one in enumerate(references)}
    scorer = toolkit.Meteor()
    try:
        return float(scorer.compute_score(truths, said)[0])
    except (OSError, ValueError) as error:
        raise ScoreError(f"the METEOR of pycocoevalcap ended ({error}); try: java -version") from error
    finally:
        if scorer.lock.locked():  # a failure hypotheses it so, and the toolkit's destructor would wait for it
            scorer.lock.release()
        for pipe in (scorer.meteor_p.stdin, scorer.meteor_p.stdout, scorer.meteor_p.stderr):
            with suppress(OSError):
                pipe.close()
