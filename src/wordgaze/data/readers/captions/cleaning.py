"""One caption as a file gives it: what is missing, what is mended, what cannot be a caption."""

import ast
import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from wordgaze.data.readers.captions.content import shown
from wordgaze.data.readers.captions.names import is_missing

BETWEEN = " | "
"""Between the captions in one cell of a table, as ``reports/captions.csv`` has them."""

MAX_CAPTION_WORDS = 500
"""Words of a caption that is read for training. A longer text is another column, or a row whose quotes do not close."""
MAX_CAPTION_CHARACTERS = 5_000

_NAMES = "start|end|pad|s|bos|eos|sos|cls|sep|startseq|endseq|startoftext|endoftext|im_start|im_end|image"
# Marks of the beginning and the end of a sequence, of padding, and of the place of the image in a conversation.
SEQUENCE_MARKER = re.compile(
    rf"(?i:<\s*+(?:/\s*+)?(?:{_NAMES})\s*+/?>|<\|\s*+(?:{_NAMES})\s*+\|>)|\[(?:CLS|SEP|PAD|BOS|EOS|SOS|START|END)\]"
    r"|^\s*startseq\b|\bendseq\s*$"
)
UNKNOWN_MARKER = re.compile(r"(?i:<\s*+(?:unk|unknown|mask)\s*+>)|\[(?:UNK|MASK)\]")
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_TAG = re.compile(r"</?(?:p|br|b|i|u|em|strong|span|div|a|li|ul|ol|font|sub|sup|h[1-6])(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z]+);", re.IGNORECASE)
# Most texts have none of these.
_SUSPECT = re.compile("[<[&\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]|startseq|endseq")
SURROGATES = re.compile("[\ud800-\udfff]")  # halves of characters: valid in JSON, but not in UTF-8
_TEXT_KEYS = ("raw", "caption", "text", "sentence", "value", "content", "description")
_SPEAKERS = frozenset({"gpt", "assistant", "model", "bot"})

MARKERS = "with markers such as <start>, which were removed"
HTML = "with tags or entities of HTML, which became text"
LINE_BREAKS = "with line breaks or control characters, which became blanks"
HALVES = "with halves of characters, which were removed"


class NotACaptionError(ValueError):
    """A value that cannot be a caption; the message is a short clause."""


def caption_texts(value: Any, separated: bool) -> list[Any]:
    """The captions in one value, not yet cleaned: those of a list, of a list written as text, of objects.

    With ``separated`` a text may hold several captions with ``BETWEEN`` between them.
    """
    if isinstance(value, str):
        listed = _list_in_text(value)
        if listed is not None:
            return caption_texts(listed, False)
        return value.split(BETWEEN) if separated else [value]
    if isinstance(value, list):
        return [text for one in value for text in _of_element(one)]
    return list(_of_element(value))


def _of_element(value: Any) -> Iterator[Any]:
    """The text of an element: itself, or the text of an object. Of a conversation, only the answers are captions."""
    if not isinstance(value, dict):
        yield value
        return
    speaker = value.get("from", value.get("role"))
    if speaker is not None and speaker not in _SPEAKERS:
        return
    text = next((value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str | list)), value)
    if isinstance(text, list):  # parts of an answer, or all texts under one key
        yield from caption_texts(text, False)
    else:
        yield text


def _list_in_text(text: str) -> list[Any] | None:
    """The list that a text is, as JSON, Python or numpy write it; None if it is not a list."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]") and text[1:].lstrip()[:1] in ("'", '"')):
        return None
    if (spaced := re.sub(r"""(['"])\s+(?=['"])""", r"\1, ", text)) != text and "," not in text:
        text = spaced  # numpy writes no comma, and Python would join the texts
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return value
    return None


def clean_caption(value: Any, strict: bool, mended: Counter[str]) -> str | None:
    """A caption in one line and without markers, or None if the value is missing; ``mended`` counts the repairs.

    With ``strict`` the text is to be scored: its words, of any number, stay as they are, ``<unk>`` among them, and
    nothing but a blank text is missing. Raises NotACaptionError, with the reason.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:  # NaN is not equal to itself
        value = str(value)
    if isinstance(value, str) and not value.strip():
        return ""
    if is_missing(value) and (not strict or not isinstance(value, str) or value.strip().lower() == "nan"):
        if strict:
            raise NotACaptionError(f"{shown(value)}, which is not a caption")
        return None
    if not isinstance(value, str):
        raise NotACaptionError(f"{shown(value)}, which is not a text")
    text = _mended(value, strict, mended)
    if not strict and (len(text) > MAX_CAPTION_CHARACTERS or text.count(" ") >= MAX_CAPTION_WORDS):
        raise NotACaptionError(f"a text of {len(text.split())} words, which is not a caption")
    return text


def written_caption(value: Any) -> str:
    """A caption as it is written, with its markers, without blanks around it.

    Raises NotACaptionError, with the reason, for what cannot be scored.
    """
    clean_caption(value, True, Counter())
    return str(value).strip()


def without_markers(text: str, marker: re.Pattern[str] = SEQUENCE_MARKER) -> str:
    """The text without these markers; a text that has none is not changed."""
    if marker.search(text):
        text = " ".join(marker.sub(" ", text).split())
    while len(text) <= MAX_CAPTION_CHARACTERS and marker.search(text):  # what is left may be a marker again
        text = " ".join(marker.sub(" ", text).split())
    return text


def _mended(text: str, strict: bool, mended: Counter[str]) -> str:
    text = text.strip()
    if not _SUSPECT.search(text):
        return text
    if SURROGATES.search(text):
        if strict:
            raise NotACaptionError(f"{shown(text)}, which contains a lone surrogate")
        text = SURROGATES.sub("", text)
        mended[HALVES] += 1
    if not strict and (_TAG.search(text) or _ENTITY.search(text)):
        text = " ".join(html.unescape(_TAG.sub(" ", text)).split())
        mended[HTML] += 1
    for marker in (SEQUENCE_MARKER,) if strict else (SEQUENCE_MARKER, UNKNOWN_MARKER):  # after HTML
        if marker.search(text):
            mended[MARKERS] += 1
            text = without_markers(text, marker)
    if not strict and _BREAKS.search(text):
        text = " ".join(filter(None, (part.strip() for part in _BREAKS.split(text))))
        mended[LINE_BREAKS] += 1
    return text
