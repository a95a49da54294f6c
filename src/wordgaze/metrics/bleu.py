"""Corpus BLEU (Papineni et al. 2002): closest reference length, no smoothing, as papers report it."""

import math
from collections.abc import Sequence

Tokens = Sequence[str]
ORDERS = 4


def corpus_bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """BLEU-1…4 over a whole corpus, each 0…1. ``references[i]`` are all the references of ``candidates[i]``.

    nltk clips the counts and gives the brevity penalty; equal weights 1/n for BLEU-n. Its own sum over a corpus is not
    taken: it counts one n-gram for a candidate that is shorter than n words and so has none.
    """
    from nltk.translate.bleu_score import brevity_penalty, closest_ref_length, modified_precision

    matched, possible = [0] * ORDERS, [0] * ORDERS
    for words, truths in zip(candidates, references, strict=True):
        for n in range(1, ORDERS + 1):
            matched[n - 1] += modified_precision(truths, words, n).numerator
            possible[n - 1] += max(0, len(words) - n + 1)
    spoken = sum(map(len, candidates))
    wanted = sum(closest_ref_length(truths, len(words)) for words, truths in zip(candidates, references, strict=True))
    penalty = brevity_penalty(wanted, spoken)
    return {f"bleu_{n}": penalty * _geometric_mean(matched[:n], possible[:n]) for n in range(1, ORDERS + 1)}


def _geometric_mean(matched: Sequence[int], possible: Sequence[int]) -> float:
    if not all(matched):
        return 0.0
    return math.exp(math.fsum(math.log(m / p) for m, p in zip(matched, possible, strict=True)) / len(matched))
