"""ROUGE-L (Lin 2004) as the COCO caption evaluation computes it."""

from collections.abc import Sequence

import numpy as np

from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

_BETA = 1.2
"""Weight of recall against precision."""


class RougeL:
    """ROUGE-L: the F-measure of the longest common subsequence, averaged over images.

    As in the toolkit, precision and recall are each that of its best reference, which may be two different ones. Scores
    of single images are ``scores(statistics(captions))``. Raises ScoreError if an image has no reference.
    """

    columns = 2

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        refuse_unscorable(references)
        self._references = [[_words(words) for words in of_image] for of_image in references]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 2): the image's score, and 1."""
        refuse_misfit(candidates, len(self._references))
        return np.array([(_score(_words(c), refs), 1) for c, refs in zip(candidates, self._references, strict=True)])

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 2) → ``rouge_l`` (...), 0…1."""
        return {"rouge_l": totals[..., 0] / totals[..., 1]}


def _words(words: Tokens) -> Tokens:
    return words or ("",)  # in the toolkit an empty caption is one empty word


def _score(candidate: Tokens, references: Sequence[Tokens]) -> float:
    common = _common_subsequences(candidate, references)
    precision = max(common) / len(candidate)
    recall = max(length / len(words) for length, words in zip(common, references, strict=True))
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision) if precision else 0.0


def _common_subsequences(candidate: Tokens, references: Sequence[Tokens]) -> list[int]:
    """Length of the longest common subsequence with each reference, by the bit-vector method of Hyyrö (2004).

    Bit i stands for word i of the candidate; zeros in ``row`` are where the table of lengths grows by one.
    """
    places: dict[str, int] = {}
    for i, word in enumerate(candidate):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(candidate)) - 1
    lengths = []
    for words in references:
        row = full
        for word in words:
            if word in places:
                matches = row & places[word]
                row = row + matches | row - matches
        lengths.append(len(candidate) - (row & full).bit_count())
    return lengths
