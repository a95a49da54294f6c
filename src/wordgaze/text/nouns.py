"""The plural and the article of an English noun, by the rules of spelling."""

from collections.abc import Collection, Sequence
from itertools import pairwise

_SOUNDS_LIKE_YOU = ("uni", "uku", "eu", "one", "ufo")
_SILENT_H = ("hour", "honest", "heir", "honor", "honour")
_SPELLED_WITH_VOWEL = frozenset({"mp3", "rv", "suv", "lcd", "led", "fm"})  # read letter by letter: an SUV


def regular_plural(noun: str) -> str:
    """The regular plural of a noun in the singular: ``bus`` → ``buses``, ``berry`` → ``berries``."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun[:-3]}men" if noun.endswith("man") else f"{noun}s"


def indefinite_article(word: str) -> str:
    """``an`` before a word in lower case that begins with the sound of a vowel, otherwise ``a``."""
    if word in _SPELLED_WITH_VOWEL or word.startswith(_SILENT_H):
        return "an"
    return "an" if word[0] in "aeiou" and not word.startswith(_SOUNDS_LIKE_YOU) else "a"


def with_articles(words: Sequence[str], nouns: Collection[str]) -> tuple[str, ...]:
    """The words, with the article that fits where ``a`` or ``an`` stands directly before one of ``nouns``."""
    fitting = list(words)
    for place, (word, following) in enumerate(pairwise(words)):
        if word in ("a", "an") and following in nouns:
            fitting[place] = indefinite_article(following)
    return tuple(fitting)
