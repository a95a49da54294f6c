"""Corpus BLEU (Papineni et al. 2002) as the COCO caption evaluation computes it: closest reference length."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams, refuse_misfit, refuse_unscorable

# The toolkit adds these instead of smoothing: a precision without matches is tiny, not 0; one without n-grams is 1e-6.
TINY, SMALL = 1e-15, 1e-9


class Bleu:
    """BLEU-1…4. ``references[i]`` are all the references of image i. Raises ScoreError if an image has none.

    Equal to the scores of the toolkit, of a corpus and of each image (``scores(statistics(captions))``). nltk's
    ``corpus_bleu`` differs where a caption has fewer than n words: it counts one n-gram that does not exist. It is also
    several times slower.
    """

    columns = 2 + 2 * ORDERS

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        refuse_unscorable(references)
        self._counts = [_most(of_image) for of_image in references]
        self._lengths = [sorted({len(words) for words in of_image}) for of_image in references]

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, 10): caption length, closest reference length, matched n-grams of each order, n-grams of each order."""
        refuse_misfit(candidates, len(self._counts))
        rows = []
        last, grams = None, Counter[Gram]()
        for words, counts, lengths in zip(candidates, self._counts, self._lengths, strict=True):
            if words is not last:  # one caption may be that of all images
                last, grams = words, ngrams(words)
            closest = min(lengths, key=lambda length: abs(length - len(words)))  # a tie takes the shorter
            possible = (max(0, len(words) - n) for n in range(ORDERS))
            rows.append((len(words), closest, *_matched(grams, counts), *possible))
        return np.array(rows, np.float64)

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., 10) → ``bleu_1`` … ``bleu_4`` (...), 0…1."""
        length, reference_length = totals[..., 0], totals[..., 1]
        matched, possible = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
        ratio = (length + TINY) / (reference_length + SMALL)
        penalty = np.exp(np.minimum(0, 1 - 1 / ratio))
        products = np.cumprod((matched + TINY) / (possible + SMALL), axis=-1)
        means = products ** (1 / np.arange(1, ORDERS + 1)) * penalty[..., None]
        return {f"bleu_{n + 1}": means[..., n] for n in range(ORDERS)}

    def smoothed(self, statistics: Floats) -> Floats:
        """Statistics (N, 10) of single captions with one matched n-gram added to each order but the first (Lin and Och
        2004). Without smoothing, BLEU-4 of most single captions is 0."""
        more = [0.0] + [1.0] * (ORDERS - 1)
        smoothed: Floats = statistics + np.array([0.0, 0.0, *more, *more])
        return smoothed


def corpus_bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """BLEU-1…4 over a whole corpus, each 0…1. ``references[i]`` are all the references of ``candidates[i]``."""
    bleu = Bleu(references)
    return {name: float(score) for name, score in bleu.scores(bleu.statistics(candidates).sum(axis=0)).items()}


def _most(references: Sequence[Tokens]) -> dict[Gram, int]:
    """The count of each n-gram in the reference that has it most often."""
    most: dict[Gram, int] = {}
    for words in references:
        for gram, count in ngrams(words).items():
            if count > most.get(gram, 0):
                most[gram] = count
    return most


def _matched(grams: Counter[Gram], most: dict[Gram, int]) -> list[int]:
    matched = [0] * ORDERS
    for gram, count in grams.items():
        if gram in most:
            matched[len(gram) - 1] += min(count, most[gram])
    return matched
