"""CIDEr (Vedantam, Zitnick and Parikh 2015) as the COCO caption evaluation computes it.

The score named CIDEr in papers is CIDEr-D's formula (clipped counts, Gaussian length penalty with σ = 6, factor 10)
without stemming; equal to the toolkit's ``Cider`` class.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

Tokens = Sequence[str]
Grams = Counter[tuple[str, ...]]
ORDERS = 4
SIGMA = 6.0


class _Vector(NamedTuple):
    weights: tuple[dict[tuple[str, ...], float], ...]  # tf-idf of each order
    norms: tuple[float, ...]
    length: int  # bigrams, as the toolkit counts it


class Cider:
    """CIDEr against fixed references, whose document frequencies and vectors are computed once.

    ``references[i]`` are all the references of picture i. A document is a picture: an n-gram counts once for each
    picture that has it in any reference.
    """

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        grams = [[_grams(reference) for reference in of_one] for of_one in references]
        self._frequency: Counter[tuple[str, ...]] = Counter()
        for of_one in grams:
            self._frequency.update({gram for counts in of_one for gram in counts})
        self._log_documents = math.log(max(len(references), 1))
        self._references = [[self._vector(counts) for counts in of_one] for of_one in grams]

    def scores(self, candidates: Sequence[Tokens]) -> list[float]:
        """One score a picture, in the references' order; 10 is a perfect match of every reference."""
        if len(candidates) != len(self._references):
            raise ValueError(f"{len(candidates)} candidates for {len(self._references)} pictures")
        return [self._score(words, refs) for words, refs in zip(candidates, self._references, strict=True)]

    def score(self, candidates: Sequence[Tokens]) -> float:
        """The mean over pictures."""
        scores = self.scores(candidates)
        return math.fsum(scores) / len(scores)

    def _score(self, candidate: Tokens, references: Sequence[_Vector]) -> float:
        mine = self._vector(_grams(candidate))
        total = math.fsum(_similarity(mine, reference) for reference in references)
        return 10.0 * total / (ORDERS * len(references)) if references else 0.0

    def _vector(self, counts: Grams) -> _Vector:
        weights: tuple[dict[tuple[str, ...], float], ...] = tuple({} for _ in range(ORDERS))
        for gram, count in counts.items():
            idf = self._log_documents - math.log(max(1, self._frequency[gram]))
            weights[len(gram) - 1][gram] = count * idf
        norms = tuple(math.sqrt(math.fsum(w * w for w in order.values())) for order in weights)
        return _Vector(weights, norms, sum(n for gram, n in counts.items() if len(gram) == 2))


def _grams(words: Tokens) -> Grams:
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(words) - n + 1))


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """The clipped cosine of every order, summed, times the length penalty."""
    total = 0.0
    for mine, theirs, a, b in zip(candidate.weights, reference.weights, candidate.norms, reference.norms, strict=True):
        dot = math.fsum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in mine.items() if gram in theirs)
        total += dot / (a * b) if a and b else dot
    gap = candidate.length - reference.length
    return total * math.exp(-(gap**2) / (2 * SIGMA**2))
