"""Kinds of failure that are recognised automatically, and the captions that show them."""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

from wordgaze.metrics.base import Tokens
from wordgaze.text.function_words import FUNCTION_WORDS

FREQUENT = 3
"""A caption is frequent if so many images have it."""


def failures(
    captions: Sequence[Tokens],
    cut: Sequence[bool],
    wrong: Sequence[bool],
    function_words: Collection[str] = FUNCTION_WORDS,
) -> dict[str, list[int]]:
    """The indices of the captions that fail, by kind; a caption may fail in several ways.

    ``cut`` marks captions without an end, ``wrong`` captions that name an object that is not in the image. A caption
    that ends on one of ``function_words`` is cut off too.
    """
    count = Counter(map(tuple, captions))
    kinds = {
        "names an absent object": wrong,
        "is cut off": [short or dangles(words, function_words) for words, short in zip(captions, cut, strict=True)],
        "repeats itself": [repeats(words) for words in captions],
        f"is the same for {FREQUENT} or more images": [count[tuple(words)] >= FREQUENT for words in captions],
        "is empty": [not words for words in captions],
    }
    return {kind: [i for i, fails in enumerate(flags) if fails] for kind, flags in kinds.items()}


def dangles(words: Tokens, function_words: Collection[str] = FUNCTION_WORDS) -> bool:
    """Whether the caption ends on a function word, as no sentence does."""
    return bool(words) and words[-1] in function_words


def repeats(words: Tokens) -> bool:
    """Whether a word follows itself, or two consecutive words occur twice."""
    pairs = Counter(pairwise(words))
    return any(n > 1 or first == second for (first, second), n in pairs.items())
