"""Scripts whose words are not separated by blanks."""

import regex

EAST_ASIAN = r"\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}"
"""Characters of Chinese and Japanese, for a class of characters."""

SPACELESS = rf"{EAST_ASIAN}\p{{LB=SA}}"
"""Those, and of Thai, Lao, Khmer, Burmese and others whose words only a dictionary finds (class SA of UAX #14)."""


class _Ends:
    """Whether a word begins or ends with a letter or number of a class, whatever marks follow it."""

    def __init__(self, characters: str) -> None:
        kind = rf"[[{characters}]&&[\p{{L}}\p{{N}}]]"
        self.start = regex.compile(kind, regex.V1)
        self.end = regex.compile(rf"{kind}[\p{{M}}\u200c\u200d]*$", regex.V1)


_SPACELESS, _EAST_ASIAN = _Ends(SPACELESS), _Ends(EAST_ASIAN)
_HANGUL = _Ends(r"\p{Hangul}")


def is_spaceless(text: str) -> bool:
    """Whether a text begins with a letter or number of a script without blanks."""
    return bool(_SPACELESS.start.match(text))


def is_joined(left: str, right: str) -> bool:
    """Whether no blank stands between two words.

    There is none between two characters of scripts without blanks, nor between a Chinese or Japanese character and a
    word or number of another script but Korean.
    """
    if _SPACELESS.end.search(left) and is_spaceless(right):
        return True
    if not (_EAST_ASIAN.end.search(left) or _EAST_ASIAN.start.match(right)):
        return False
    return not (_HANGUL.end.search(left) or _HANGUL.start.match(right))
