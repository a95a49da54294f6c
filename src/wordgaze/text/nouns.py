"""The plural and the article of an English noun, by the rules of spelling."""

import re
from collections.abc import Container, Sequence
from itertools import pairwise

# What begins with the sound of "you" or "won"; "un" before another prefix is a negation: unidentified, uninhabited.
_SOUNDS_LIKE_YOU = re.compile(
    r"eu|ewe|ouija|once|one(?!rous)|u(?:$|[-.]|k|v|fo|biq|gand|lulat|ni(?![dmn])|s(?:[abeu]|$)|t[aeio]|r[aei])"
)
_SILENT_H = ("hour", "honest", "heir", "honor", "honour")
_SPELLED_WITH_VOWEL = re.compile(r"(?:mp3|rv|suv|lcd|led|fm|x-?ray|sos|8\d*|11|18)(?![a-z])")  # an SUV, an 8


def regular_plural(noun: str) -> str:
    """The regular plural of a noun in the singular: ``bus`` → ``buses``, ``berry`` → ``berries``."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun[:-3]}men" if noun.endswith("man") else f"{noun}s"


def indefinite_article(word: str) -> str:
    """``an`` before a word in lower case that begins with the sound of a vowel, otherwise ``a``."""
    if _SPELLED_WITH_VOWEL.match(word) or word.startswith(_SILENT_H):
        return "an"
    return "an" if word[0] in "aeiou" and not _SOUNDS_LIKE_YOU.match(word) else "a"


def with_articles(
    words: Sequence[str], nouns: Container[str], articles: Container[str] = ("a", "an")
) -> tuple[str, ...]:
    """The words, with the article that fits where ``a`` or ``an`` stands directly before one of ``nouns``.

    An article that fits and is not in ``articles`` is not put in.
    """
    fitting = list(words)
    for place, (word, following) in enumerate(pairwise(words)):
        if word in ("a", "an") and following in nouns and (fits := indefinite_article(following)) in articles:
            fitting[place] = fits
    return tuple(fitting)
