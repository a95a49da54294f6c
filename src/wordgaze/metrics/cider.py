"""CIDEr (Vedantam, Zitnick and Parikh 2015) as the COCO caption evaluation computes it, and as a training reward.

What papers report as CIDEr is the toolkit's ``Cider`` class, and its formula is the paper's CIDEr-D without stemming:
counts clipped at the reference's, a Gaussian penalty on the difference of lengths (σ = 6, counted in bigrams), times
10. So there is no second number to be called CIDEr-D: ``Cider`` is both. The paper's first formula, plain cosines, is
the utility ``cosine`` of ``wordgaze.metrics.consensus``; repeating a rare word raises it, so it is not a reward.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams, refuse_misfit, refuse_unscorable

_CHUNK = 256  # images whose references are prepared at a time
LENGTH_SIGMA = 6.0
"""Standard deviation of the length penalty, in bigrams."""


def unit_vector(words: Tokens, frequencies: DocumentFrequencies) -> dict[Gram, float]:
    """The tf-idf of a caption's n-grams, of length 1 within each order; n-grams that all images have are left out.

    The product of two of these vectors, divided by the number of orders, is the similarity of Vedantam et al. 2015,
    equation 2.
    """
    idf, unseen = frequencies
    weights = {gram: count * idf.get(gram, unseen) for gram, count in ngrams(words).items()}
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
    """The references of one image, indexed by n-gram."""

    postings: dict[Gram, list[tuple[int, float]]]  # the numbers of the references with an n-gram, and its weight there
    norms: list[tuple[float, ...]]  # of each reference
    lengths: list[int]


class Cider:
    """CIDEr against fixed references, whose tf-idf weights are computed once.

    ``references[i]`` are all the references of image i. ``frequencies`` are by default those of these references; a
    reward takes those of the whole training set. Raises ScoreError if an image has no reference.
    """

    columns = 2

    def __init__(self, references: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies | None = None) -> None:
        refuse_unscorable(references)
        self._frequencies = frequencies or document_frequencies(references)
        self._references = [
            _index([self._vector(ngrams(words), words) for words in of_image]) for of_image in references
        ]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 2): the image's score, and 1."""
        return np.array([(score, 1) for score in self.per_image(candidates)])

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 2) → ``cider`` (...), 0…10: the mean over images."""
        return {"cider": totals[..., 0] / totals[..., 1]}

    def per_image(self, candidates: Sequence[Tokens]) -> list[float]:
        """One score per image, in the order of the references; 10 is a perfect match of every reference."""
        refuse_misfit(candidates, len(self._references))
        return self.reward(range(len(candidates)), candidates)

    def score(self, candidates: Sequence[Tokens]) -> float:
        """The mean over images, 0…10."""
        return math.fsum(self.per_image(candidates)) / len(candidates)

    def reward(self, images: Iterable[int], candidates: Sequence[Tokens]) -> list[float]:
        """The score of each candidate against the references of its image; any number of candidates per image.

        ``images[i]`` is the index of candidate i's image among the references.
        """
        indices = list(images)
        if len(indices) != len(candidates):
            raise ScoreError(f"{len(candidates)} captions with {len(indices)} indices of images: give one index each")
        return [self._score(words, self._references[i]) for words, i in zip(candidates, indices, strict=True)]

    def _vector(self, counts: Counter[Gram], words: Tokens) -> _Vector:
        idf, unseen = self._frequencies
        weights = {gram: count * idf.get(gram, unseen) for gram, count in counts.items()}
        return _Vector(weights, _norms(weights), max(0, len(words) - 1))

    def _score(self, words: Tokens, references: _References) -> float:
        """The clipped cosine, averaged over orders and references, times the penalty on the difference of lengths."""
        postings, norms, lengths = references
        candidate = self._vector(ngrams(words), words)
        products = [[0.0] * ORDERS for _ in lengths]
        for gram, weight in candidate.weights.items():
            for number, other in postings.get(gram, ()):
                products[number][len(gram) - 1] += min(weight, other) * other
        total = 0.0
        for product, norm, length in zip(products, norms, lengths, strict=True):
            cosines = sum(x / (a * b) for x, a, b in zip(product, candidate.norms, norm, strict=True) if x)
            total += cosines * math.exp(-((candidate.length - length) ** 2) / (2 * LENGTH_SIGMA**2))
        return 10 * total / (ORDERS * len(lengths))


def cider_score(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies
) -> float:
    """The mean over images, 0…10, as :meth:`Cider.score`: the references of a few images at a time are prepared.

    Raises ScoreError unless there is one caption per image.
    """
    refuse_misfit(candidates, len(references))
    parts = [slice(start, start + _CHUNK) for start in range(0, len(references), _CHUNK)]
    scores = (Cider(references[part], frequencies).per_image(candidates[part]) for part in parts)
    return math.fsum(chain.from_iterable(scores)) / len(candidates)


def _index(vectors: Sequence[_Vector]) -> _References:
    postings: dict[Gram, list[tuple[int, float]]] = {}
    for number, vector in enumerate(vectors):
        for gram, weight in vector.weights.items():
            postings.setdefault(gram, []).append((number, weight))
    return _References(postings, [vector.norms for vector in vectors], [vector.length for vector in vectors])
