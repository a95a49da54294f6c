"""The kinds of failure that can be told without a person, and which captions show them."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from wordgaze.metrics.base import Tokens
from wordgaze.text.function_words import FUNCTION_WORDS

SAID_OFTEN = 3  # pictures with one and the same caption


def failures(captions: Sequence[Tokens], cut: Sequence[bool], wrong: Sequence[bool]) -> dict[str, list[int]]:
    """The places of the captions that fail, by kind; a caption may fail in several ways.

    ``cut`` tells which ones were cut at the maximum length, ``wrong`` which ones name an object that is not there.
    """
    count = Counter(map(tuple, captions))
    kinds = {
        "names what is not there": wrong,
        "breaks off": [short or dangles(words) for words, short in zip(captions, cut, strict=True)],
        "repeats itself": [repeats(words) for words in captions],
        f"is said of {SAID_OFTEN} pictures or more": [count[tuple(words)] >= SAID_OFTEN for words in captions],
        "says nothing": [not words for words in captions],
    }
    return {kind: [i for i, fails in enumerate(flags) if fails] for kind, flags in kinds.items()}


def dangles(words: Tokens) -> bool:
    """Whether it ends on a word that no sentence ends on."""
    return bool(words) and words[-1] in FUNCTION_WORDS


def repeats(words: Tokens) -> bool:
    """Whether two words in a row come a second time, or a word follows itself."""
    pairs = Counter(pairwise(words))
    return any(n > 1 or first == second for (first, second), n in pairs.items())
