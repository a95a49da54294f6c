"""Which tokenizer suits a text, and whether the chosen one found words in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import regex

from wordgaze.text.tokenizers.scripts import is_spaceless

_LATIN = regex.compile(r"\p{Latin}")
_DOTTED, _DOTTED_LETTERS = "unicode-tr", frozenset("ıİ")
_MIN_DOTTED = 0.25  # of the texts in Latin letters; nearly every sentence in Turkish has one of them
_MIN_SPACELESS = 0.1
_WORD_LETTERS = 6
"""Words in Chinese, Japanese, Thai and Khmer have fewer letters on average, clauses have more."""

HINT = "their script writes no blanks between words"
"""Why captions may be one long word."""


def suggested_tokenizer(texts: Sequence[str]) -> str:
    """The name of the tokenizer that suits texts by the scripts in which most letters of each are: ``ptb`` for Latin
    letters, ``unicode-tr`` where many have the letters ı or İ, ``unicode`` for other scripts, and ``characters`` where
    a tenth of the texts is of a script without blanks, because the others would find no words in these."""
    suited = Counter(name for text in texts if (name := _suited_to_one(text)))
    latin, dotted = suited["ptb"] + suited[_DOTTED], suited[_DOTTED]
    if suited["characters"] and _MIN_SPACELESS * suited.total() <= suited["characters"]:
        return "characters"
    if 2 * latin < suited.total():
        return "unicode"
    return _DOTTED if dotted and _MIN_DOTTED * latin <= dotted else "ptb"


def _suited_to_one(text: str) -> str:
    """The name of the tokenizer that suits a text; "" for a text without a letter."""
    if text.isascii():
        return "ptb" if any(map(str.isalpha, text)) else ""
    scripts = Counter(_suited_to_letter(char) for char in text if char.isalpha())
    name = max(("ptb", "characters", "unicode"), key=scripts.__getitem__)
    if not scripts:
        return ""
    return _DOTTED if name == "ptb" and not _DOTTED_LETTERS.isdisjoint(text) else name


@cache
def _suited_to_letter(char: str) -> str:
    return "ptb" if _LATIN.match(char) else "characters" if is_spaceless(char) else "unicode"


def is_unsegmented(counts: Mapping[str, int], num_captions: int) -> bool:
    """Whether most tokens of captions are clauses of a script without blanks, not words; ``counts`` says how often each
    token occurs."""
    spaceless = {token: n for token, n in counts.items() if is_spaceless(token)}
    number = sum(spaceless.values())
    letters = sum(n * len(token) for token, n in spaceless.items())
    if not number or 2 * letters < sum(n * len(token) for token, n in counts.items() if token[:1].isalpha()):
        return False
    return letters / number > _WORD_LETTERS or (letters / number > 2 and number < 2 * num_captions)
