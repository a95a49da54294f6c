"""Diversity of captions. A captioner that repeats a few safe captions has good scores.

Captions are lists of words. Several captions of one image are listed one after another, except for ``self_bleu``, which
compares them. A measure that is not defined is None, never 0.
"""

from collections.abc import Iterator, Sequence

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import corpus_bleu


def distinct_n(captions: Sequence[Tokens], n: int) -> float | None:
    """Distinct n-grams per n-gram, 0…1, over all captions (Li et al. 2016). None if no caption has n words.

    It decreases with the number of captions: compare sets of equal size.
    """
    _check(captions)
    if n < 1:
        raise ScoreError(f"n is {n}, which is not a valid length of an n-gram; 1 and 2 are usual")
    different = {gram for words in captions for gram in _grams(words, n)}
    number = sum(max(0, len(words) - n + 1) for words in captions)
    return len(different) / number if number else None


def vocabulary_used(captions: Sequence[Tokens]) -> int:
    """The number of different words in all captions."""
    _check(captions)
    return len({word for words in captions for word in words})


def mean_length(captions: Sequence[Tokens]) -> float:
    """Words per caption; an empty caption counts as 0 words."""
    _check(captions)
    return sum(map(len, captions)) / len(captions)


def self_bleu(sets: Sequence[Sequence[Tokens]]) -> float | None:
    """The similarity of the captions of an image to each other (Zhu et al. 2018), 0…1.

    ``sets[i]`` are the captions of image i. BLEU-4 of each caption against the others, averaged over the captions of an
    image, then over images. Images with one caption are left out; None if no image has two. Without smoothing, captions
    shorter than four words, or without four words in a row in common, score below 0.04.
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
    """The share of captions, 0…1, that are not a training caption word for word."""
    _check(captions)
    if not train_captions:
        raise ScoreError("there are no training captions, so novelty is not defined")
    different = set(map(tuple, captions))  # the training captions, of which there are more, are read one at a time
    known = different.intersection(map(tuple, train_captions))
    return sum(tuple(words) not in known for words in captions) / len(captions)


def _grams(words: Tokens, n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _check(captions: Sequence[object]) -> None:
    if not captions:
        raise ScoreError("there are no captions, so diversity is not defined; caption at least one image")
