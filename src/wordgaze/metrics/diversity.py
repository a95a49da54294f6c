"""How varied captions are. A captioner that is safe, and dull, scores well and says the same few things.

Captions are lists of words; several captions of one picture simply stand one after the other, but for ``self_bleu``,
which compares them. What nothing can be said about is None, never 0.
"""

from collections.abc import Iterator, Sequence

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import corpus_bleu


def distinct_n(captions: Sequence[Tokens], n: int) -> float | None:
    """Distinct n-grams per n-gram, 0…1, over all captions (Li et al. 2016). None if no caption has n words.

    It falls with the number of captions: compare sets of one size.
    """
    _check(captions)
    if n < 1:
        raise ScoreError(f"n-grams of {n} words: at least 1 is needed, and 1 and 2 are usual")
    grams = [gram for words in captions for gram in _grams(words, n)]
    return len(set(grams)) / len(grams) if grams else None


def vocabulary_used(captions: Sequence[Tokens]) -> int:
    """How many different words the captions have."""
    _check(captions)
    return len({word for words in captions for word in words})


def mean_length(captions: Sequence[Tokens]) -> float:
    """Words a caption; an empty caption counts as 0 words."""
    _check(captions)
    return sum(map(len, captions)) / len(captions)


def self_bleu(sets: Sequence[Sequence[Tokens]]) -> float | None:
    """How alike the captions of one picture are (Zhu et al. 2018), 0…1.

    ``sets[i]`` are the captions of picture i. BLEU-4 of each against the others, averaged over the picture, then over
    pictures. Pictures with one caption are left out; None if no picture has two. There is no smoothing: captions that
    are shorter than four words, or have no four words in a row in common, count next to nothing (below 0.04).
    """
    _check(sets)
    several = [captions for captions in sets if len(captions) > 1]
    means = [
        sum(corpus_bleu([words], [[*captions[:i], *captions[i + 1 :]]])["bleu_4"] for i, words in enumerate(captions))
        / len(captions)
        for captions in several
    ]
    return sum(means) / len(means) if means else None


def novelty(captions: Sequence[Tokens], train_captions: Sequence[Tokens]) -> float:
    """The share of captions, 0…1, that no training caption equals word for word."""
    _check(captions)
    if not train_captions:
        raise ScoreError("no training captions to compare with, so novelty is not defined")
    known = set(map(tuple, train_captions))
    return sum(tuple(words) not in known for words in captions) / len(captions)


def _grams(words: Tokens, n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _check(captions: Sequence[object]) -> None:
    if not captions:
        raise ScoreError("no captions, so their diversity is not defined; decode at least one picture")
