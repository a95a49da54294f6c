"""Text that a terminal shows as one line in its written order, and file names as text that every file can hold."""

import os
import re
import unicodedata

_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, halves of surrogate pairs, line and paragraph separators
_HALF = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """``text`` with U+FFFD in place of every character that could break or reorder a line.

    These are control characters, line breaks, bidirectional formatting (CVE-2021-42574), and what Python makes of the
    bytes of a file name that is not UTF-8, which :func:`escaped` shows.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unsafe(each) else each for each in text)


def printable_row(*columns: str) -> str:
    """Texts as the columns of one line, separated by tabs, each as :func:`printable` gives it."""
    return "\t".join(map(printable, columns))


def count_noun(number: int, noun: str) -> str:
    """A number with its noun, whose plural takes an s: "1 image", "1,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def escaped(name: str | os.PathLike[str]) -> str:
    r"""A file name or path as text that can be written as UTF-8: ``caf\xe9.jpg`` for a name that is not UTF-8.

    Python gives such bytes as halves of surrogate pairs (PEP 383), which no encoding writes.
    """
    return _HALF.sub(_byte, os.fspath(name))


def reason_of(error: Exception) -> str:
    """The message of another library's error as one line, or the name of its class where it has none."""
    if "integer string conversion" in str(error):  # Python's own words name a function of Python
        return "it has an integer of more than 4300 digits"
    return " ".join(str(error).split()) or type(error).__name__


def _byte(half: re.Match[str]) -> str:
    number = ord(half[0])
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def _is_unsafe(character: str) -> bool:
    return character in _BIDIRECTIONAL or unicodedata.category(character) in _UNSAFE
