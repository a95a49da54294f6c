"""CIDEr (Vedantam, Zitnick and Parikh 2015) as the COCO caption evaluation computes it, and as a training reward.

What papers report as CIDEr is the toolkit's ``Cider`` class, and its formula is the paper's CIDEr-D without stemming:
counts clipped at the reference's, a Gaussian penalty on the difference of lengths (σ = 6, counted in bigrams), times
10. So there is no second number to be called CIDEr-D: ``Cider`` is both. The paper's first formula, plain cosines, is
``PlainCider``; repeating a rare word raises it, so it is for comparison only and no reward.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams, refuse_misfit, refuse_unscorable

SIGMA = 6.0


class DocumentFrequencies(NamedTuple):
    """Inverse document frequencies. A document is a picture: all its references count once."""

    rarity: dict[Gram, float]
    unknown: float  # that of an n-gram which no picture has


def document_frequencies(references: Sequence[Sequence[Tokens]]) -> DocumentFrequencies:
    """Counted over all references of all pictures, to be handed to a ``Cider`` of other or fewer pictures."""
    return _frequencies((map(ngrams, of_one) for of_one in references), len(references))


def _frequencies(pictures: Iterable[Iterable[Counter[Gram]]], count: int) -> DocumentFrequencies:
    documents = Counter(chain.from_iterable(set().union(*of_one) for of_one in pictures))
    most = math.log(max(count, 1))
    idf = {having: most - math.log(having) for having in set(documents.values())}
    return DocumentFrequencies({gram: idf[having] for gram, having in documents.items()}, most)


def unit_vector(words: Tokens, frequencies: DocumentFrequencies) -> dict[Gram, float]:
    """The tf-idf of a caption's n-grams, of length 1 within each order; n-grams that all pictures have are left out.

    The product of two of these, over the number of orders, is the similarity of ``PlainCider``.
    """
    rarity, unknown = frequencies
    weights = {gram: count * rarity.get(gram, unknown) for gram, count in ngrams(words).items()}
    norms = _norms(weights)
    return {gram: weight / norms[len(gram) - 1] for gram, weight in weights.items() if weight}


def _norms(weights: dict[Gram, float]) -> tuple[float, ...]:
    """The length of each order's part."""
    squares = [0.0] * ORDERS
    for gram, weight in weights.items():
        squares[len(gram) - 1] += weight * weight
    return tuple(map(math.sqrt, squares))


class _Vector(NamedTuple):
    weights: dict[Gram, float]  # tf-idf
    norms: tuple[float, ...]  # of each order
    length: int  # in bigrams, as the toolkit counts it


class _References(NamedTuple):
    """The references of one picture, by what they share with a candidate."""

    having: dict[Gram, list[tuple[int, float]]]  # the places of those that have an n-gram, and its weight there
    norms: list[tuple[float, ...]]  # of each reference
    lengths: list[int]


class Cider:
    """CIDEr against fixed references, all of whose weights are computed once.

    ``references[i]`` are all the references of picture i. Document frequencies are those of these references, or the
    ones handed in: a reward takes those of the whole training set. Raises ScoreError if a picture has no reference.
    """

    columns = 2
    name = "cider"
    _clipped = True

    def __init__(self, references: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies | None = None) -> None:
        refuse_unscorable(references)
        counts = [[ngrams(words) for words in of_one] for of_one in references]
        self._frequencies = frequencies or _frequencies(counts, len(counts))
        self._references = [
            _index([self._vector(*pair) for pair in zip(*of_one, strict=True)])
            for of_one in zip(counts, references, strict=True)
        ]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 2): the picture's score, and 1."""
        return np.array([(score, 1) for score in self.per_picture(candidates)])

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """The mean over pictures, 0…10."""
        return {self.name: totals[..., 0] / totals[..., 1]}

    def per_picture(self, candidates: Sequence[Tokens]) -> list[float]:
        """One score a picture, in the references' order; 10 is a perfect match of every reference."""
        refuse_misfit(candidates, len(self._references))
        return self.reward(range(len(candidates)), candidates)

    def score(self, candidates: Sequence[Tokens]) -> float:
        """The mean over pictures."""
        return math.fsum(self.per_picture(candidates)) / len(candidates)

    def reward(self, pictures: Iterable[int], candidates: Sequence[Tokens]) -> list[float]:
        """The score of each candidate against the references of its picture; any number of candidates a picture.

        ``pictures[i]`` is the place of candidate i's picture among the references.
        """
        places = list(pictures)
        if len(places) != len(candidates):
            raise ScoreError(f"{len(candidates)} captions with {len(places)} places of pictures: give one place each")
        return [self._score(words, self._references[i]) for words, i in zip(candidates, places, strict=True)]

    def _vector(self, counts: Counter[Gram], words: Tokens) -> _Vector:
        rarity, unknown = self._frequencies
        weights = {gram: count * rarity.get(gram, unknown) for gram, count in counts.items()}
        return _Vector(weights, _norms(weights), max(0, len(words) - 1))

    def _score(self, words: Tokens, references: _References) -> float:
        """The cosines of all orders and references, averaged; clipped, and times the penalty on their lengths."""
        having, norms, lengths = references
        candidate = self._vector(ngrams(words), words)
        products = [[0.0] * ORDERS for _ in lengths]
        for gram, mine in candidate.weights.items():
            for place, theirs in having.get(gram, ()):
                products[place][len(gram) - 1] += (min(mine, theirs) if self._clipped else mine) * theirs
        total = 0.0
        for found, norm, length in zip(products, norms, lengths, strict=True):
            cosines = sum(x / (a * b) for x, a, b in zip(found, candidate.norms, norm, strict=True) if x)
            total += cosines * self._penalty(candidate.length - length)
        return 10 * total / (ORDERS * len(lengths))

    def _penalty(self, gap: int) -> float:
        return math.exp(-(gap**2) / (2 * SIGMA**2)) if self._clipped else 1.0


def _index(vectors: Sequence[_Vector]) -> _References:
    having: dict[Gram, list[tuple[int, float]]] = {}
    for place, vector in enumerate(vectors):
        for gram, weight in vector.weights.items():
            having.setdefault(gram, []).append((place, weight))
    return _References(having, [vector.norms for vector in vectors], [vector.length for vector in vectors])


class PlainCider(Cider):
    """CIDEr as the paper first defines it: the mean cosine of tf-idf, with neither clipping nor a length penalty."""

    name = "cider_plain"
    _clipped = False
