"""Consensus: how much each of several captions of one image agrees with the others."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider, unit_vector
from wordgaze.metrics.document_frequencies import DocumentFrequencies
from wordgaze.metrics.ngrams import ORDERS, Gram

Utility = Literal["cider", "bleu", "cosine"]

UNIFORM = DocumentFrequencies({}, 1.0)
"""Equal weights of all n-grams."""


def consensus_scores(
    candidates: Sequence[Tokens], utility: Utility, frequencies: DocumentFrequencies = UNIFORM
) -> list[float]:
    """The mean utility of each candidate with the others as references; with itself if there are no others.

    ``utility``: ``bleu``, BLEU-4 in 0…1, with all others as the references of one corpus; ``cider``, CIDEr in 0…10;
    ``cosine``, the similarity by which CIDEr was first defined (Vedantam et al. 2015, equation 2), the cosine of tf-idf
    vectors averaged over n-grams of 1…4 words, 0…1. ``frequencies`` are those of the n-grams for CIDEr and the cosine.
    """
    if utility == "bleu":
        return _bleu(candidates)
    return _cider(candidates, frequencies) if utility == "cider" else _cosine(candidates, frequencies)


def _bleu(candidates: Sequence[Tokens]) -> list[float]:
    others = [[*candidates[:i], *candidates[i + 1 :]] or list(candidates) for i in range(len(candidates))]
    metric = Bleu(others)
    return [float(score) for score in metric.scores(metric.statistics(candidates))["bleu_4"]]


def _cider(candidates: Sequence[Tokens], frequencies: DocumentFrequencies) -> list[float]:
    """One image whose references are all candidates; the score of a candidate against itself is subtracted."""
    count = len(candidates)
    if count == 1:
        return [10.0]
    against_all = Cider([candidates], frequencies).reward([0] * count, candidates)
    against_itself = [
        10.0 * len({len(gram) for gram in unit_vector(words, frequencies)}) / ORDERS for words in candidates
    ]
    return [(count * total - own) / (count - 1) for total, own in zip(against_all, against_itself, strict=True)]


def _cosine(candidates: Sequence[Tokens], frequencies: DocumentFrequencies) -> list[float]:
    """The vectors have length 1, so the sum over the others is one product with the sum of all vectors."""
    vectors = [unit_vector(words, frequencies) for words in candidates]
    total: Counter[Gram] = Counter()
    for vector in vectors:
        total.update(vector)
    if len(vectors) == 1:
        return [sum(x * x for x in vector.values()) / ORDERS for vector in vectors]
    products = [sum(x * (total[gram] - x) for gram, x in vector.items()) for vector in vectors]
    return [product / (ORDERS * (len(vectors) - 1)) for product in products]
