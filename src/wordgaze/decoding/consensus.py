"""Minimum Bayes risk: of many candidates, the caption that agrees most with the others (Kumar and Byrne 2004)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from wordgaze.decoding.base import Caption
from wordgaze.metrics.bleu import corpus_bleu

ORDERS = 4
SIGMA = 6.0  # of CIDEr-D's penalty for a difference in length


def consensus(candidates: Sequence[Caption], num: int, utility: Literal["cider", "bleu"]) -> list[Caption]:
    """The ``num`` different captions with the highest mean utility against all other candidates, best first.

    A caption that was found several times counts as often. ``score`` is the mean utility: 0…1 by BLEU-4, by CIDEr-D
    with every n-gram weighted alike 0…10.
    """
    words = [caption.words for caption in candidates]
    scores = _by_cider(words) if utility == "cider" else _by_bleu(words)
    ranked = sorted(zip(candidates, scores, strict=True), key=lambda pair: (-pair[1], -pair[0].log_prob))
    different = {caption.words: replace(caption, score=score) for caption, score in reversed(ranked)}
    return sorted(different.values(), key=lambda caption: (-caption.score, -caption.log_prob))[:num]


def _by_bleu(words: Sequence[tuple[str, ...]]) -> list[float]:
    if len(words) == 1:
        return [1.0]
    return [
        corpus_bleu([mine], [[other for j, other in enumerate(words) if j != i]])["bleu_4"]
        for i, mine in enumerate(words)
    ]


def _by_cider(words: Sequence[tuple[str, ...]]) -> list[float]:
    if len(words) == 1:
        return [10.0]
    lengths = np.array([len(caption) for caption in words], dtype=np.float64)
    penalty = np.exp(-((lengths[:, None] - lengths) ** 2) / (2 * SIGMA**2))
    similarity = sum(_clipped_cosine(_counts(words, n)) for n in range(1, ORDERS + 1)) * penalty * 10 / ORDERS
    np.fill_diagonal(similarity, 0)
    return [float(row.sum()) / (len(words) - 1) for row in similarity]


def _counts(words: Sequence[tuple[str, ...]], n: int) -> npt.NDArray[np.float64]:
    grams = [Counter(zip(*(caption[i:] for i in range(n)), strict=False)) for caption in words]
    index = {gram: i for i, gram in enumerate(sorted(set().union(*grams)))}
    counts = np.zeros((len(words), len(index)))
    for row, of_one in zip(counts, grams, strict=True):
        for gram, count in of_one.items():
            row[index[gram]] = count
    return counts


def _clipped_cosine(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    dots = (np.minimum(counts[:, None], counts[None]) * counts[None]).sum(2)
    norms = np.sqrt((counts**2).sum(1))
    scale = norms[:, None] * norms
    cosine: npt.NDArray[np.float64] = np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
    return cosine
