"""Text that a terminal shows as one line in its written order."""

import unicodedata

_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, halves of surrogate pairs, line and paragraph separators


def printable(text: str) -> str:
    """``text`` with U+FFFD in place of every character that could break or reorder a line.

    These are control characters, line breaks, bidirectional formatting (CVE-2021-42574), and what Python makes of the
    bytes of a file name that is not UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(each) else each for each in text)


def _is_unsafe(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in _UNSAFE
