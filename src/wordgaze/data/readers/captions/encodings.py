"""The encodings of text files: UTF-8, UTF-16, and the code page of Western Windows systems."""

import codecs
import logging
import re
from pathlib import Path

from wordgaze.core.errors import CaptionsError

_log = logging.getLogger(__name__)

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD = 4096  # bytes
_LETTERS = "€‚„…‰ŠšŒœŽžŸ‘’“”•–—™‹›"  # of the code page, beside those of Latin-1
_WESTERN = re.compile(f"[\u00a0-\u00ff{_LETTERS}]")
_MOST_RUNS = 0.3  # of the letters outside ASCII, those in runs of three or more: Western texts have few


def decoded(path: Path, data: bytes) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, UTF-16, UTF-32 or Windows code page 1252.

    A file in code page 1252 is read with a warning, if its letters are distributed as in a Western language: other
    code pages can be decoded too, but to wrong letters. Raises CaptionsError, which names the byte and the line, for
    any other encoding.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None) or _wide(data[:_HEAD])
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding in (None, "utf-8-sig") and (text := _western(data)) is not None:
            _log.warning("%s is not UTF-8 and is read as Windows-1252; save it as UTF-8 if letters are wrong", path)
            return text
        raise CaptionsError(f"{path} is not {_named(encoding)} at {_where(data, error)}; {_WAY_OUT}") from error


_WAY_OUT = "save it as UTF-8 (in Excel: Save As, CSV UTF-8)"


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of an ASCII letter is zero."""
    if head[1::2].count(0) > len(head) // 4 and not head[::2].count(0):
        return "utf-16-le"
    return "utf-16-be" if head[::2].count(0) > len(head) // 4 and not head[1::2].count(0) else None


def _western(data: bytes) -> str | None:
    """The text in code page 1252, or None if it is unlikely to be in it."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    letters = [character for character in text if character >= "\x80"]
    if "\0" in text or not all(map(_WESTERN.fullmatch, set(letters))):
        return None
    runs = sum(len(run) for run in re.findall("[\x80-\U0010ffff]{3,}", text))
    return text if runs <= _MOST_RUNS * len(letters) else None


def _named(encoding: str | None) -> str:
    return "UTF-8" if encoding in (None, "utf-8-sig") else encoding.upper().replace("-LE", "").replace("-BE", "")


def _where(data: bytes, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    return f"byte {error.start} (0x{data[error.start]:02x}, in line {line})"
