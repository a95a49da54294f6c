"""Which tokenizer suits a text, and whether the chosen one found words in it."""

from collections import Counter
from collections.abc import Mapping, Sequence

import regex

from wordgaze.text.tokenizers.scripts import is_spaceless

_LATIN = regex.compile(r"\p{Latin}")
_WORD_LETTERS = 6
"""Words in Chinese, Japanese, Thai and Khmer have fewer letters on average, clauses have more."""

HINT = "their script writes no blanks between words"
"""Why captions may be one long word."""


def suggested_tokenizer(texts: Sequence[str]) -> str:
    """The name of the tokenizer that suits texts by the script of most of their letters: ``ptb`` for Latin letters,
    ``characters`` for scripts without blanks, ``unicode`` for others."""
    letters = {char: n for char, n in Counter("".join(texts)).items() if char.isalpha()}
    total = sum(letters.values())
    if 2 * sum(n for char, n in letters.items() if _LATIN.match(char)) >= total:
        return "ptb"
    return "characters" if 2 * sum(n for char, n in letters.items() if is_spaceless(char)) >= total else "unicode"


def is_unsegmented(counts: Mapping[str, int], num_captions: int) -> bool:
    """Whether most tokens of captions are clauses of a script without blanks, not words; ``counts`` says how often each
    token occurs."""
    spaceless = {token: n for token, n in counts.items() if is_spaceless(token)}
    number = sum(spaceless.values())
    letters = sum(n * len(token) for token, n in spaceless.items())
    if not number or 2 * letters < sum(n * len(token) for token, n in counts.items() if token[:1].isalpha()):
        return False
    return letters / number > _WORD_LETTERS or (letters / number > 2 and number < 2 * num_captions)
