"""Corpus BLEU (Papineni et al. 2002): closest reference length, no smoothing, as papers report it."""

import warnings
from collections.abc import Sequence

Tokens = Sequence[str]


def corpus_bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """BLEU-1…4 over a whole corpus, each 0…1. ``references[i]`` are all the references of ``candidates[i]``.

    nltk computes modified precisions and the brevity penalty; equal weights 1/n for BLEU-n.
    """
    from nltk.translate.bleu_score import corpus_bleu as nltk_bleu

    weights = [tuple(1 / n for _ in range(n)) for n in range(1, 5)]
    with warnings.catch_warnings():
        # nltk warns where an n-gram order has no match at all; the score is 0 then, which is what is meant.
        warnings.simplefilter("ignore", UserWarning)
        scores = nltk_bleu([list(map(list, r)) for r in references], [list(c) for c in candidates], weights=weights)
    return {f"bleu_{n}": _zero_if_tiny(float(score)) for n, score in enumerate(scores, start=1)}


def _zero_if_tiny(score: float) -> float:
    # Without smoothing nltk puts the smallest float in place of a precision of zero.
    return 0.0 if score < 1e-70 else score
