"""From the rows of a file to the captions of images."""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions.cleaning import (
    SURROGATES,
    NotACaptionError,
    caption_texts,
    clean_caption,
    written_caption,
)  # fmt: skip
from wordgaze.data.readers.captions.columns import Columns, choose_columns, finest
from wordgaze.data.readers.captions.content import (
    ById,
    CaptionContent,
    CaptionFile,
    CaptionRow,
    ColumnNames,
    NoCaptionsError,
    shown,
)
from wordgaze.data.readers.captions.documents import DOCUMENT_LAYOUT, LINES_LAYOUT
from wordgaze.data.readers.captions.names import SEVERAL_NAMES, canonical, is_id
from wordgaze.data.readers.captions.parquet import PARQUET_LAYOUT
from wordgaze.data.readers.captions.tables import TABLE_LAYOUT
from wordgaze.data.readers.captions.tokens import PAIR_LAYOUT, TOKEN_LAYOUT
from wordgaze.data.records import Fault

_log = logging.getLogger(__name__)

CAPTION_LAYOUTS = (PARQUET_LAYOUT, TOKEN_LAYOUT, LINES_LAYOUT, DOCUMENT_LAYOUT, TABLE_LAYOUT, PAIR_LAYOUT)
"""All layouts, in the order in which they are tried."""

_KNOWN = "a table with a header, JSON lines, COCO or Karpathy's JSON, Parquet, Flickr8k tokens (name.jpg#0<TAB>caption)"
_SEVERAL = frozenset(map(canonical, SEVERAL_NAMES))


class _Entry(NamedTuple):
    """Captions of one image, its split or "", and the place to name in a message."""

    place: str
    id: str
    captions: list[str]
    split: str


def read_content(file: CaptionFile) -> CaptionContent:
    """The rows of a file of any layout. Raises NoCaptionsError if it has none of them."""
    for layout in CAPTION_LAYOUTS:
        if layout.fits(file):
            return layout.read(file)
    raise NoCaptionsError(f"{file.path}: unknown format, first line {shown(file.first_line)}; known are {_KNOWN}")


_MAX_EXAMPLE = 500  # characters of a fault that an error names


class CaptionEntries:
    """The entries of a file, and with them the other names of its images.

    With ``strict``, for files to be scored, a row that cannot be used raises CaptionsError; otherwise it is a fault.
    ``several`` prefers columns with several captions. ``as_written`` keeps markers, and blank captions among several.
    """

    def __init__(
        self, content: CaptionContent, wanted: ColumnNames, strict: bool, several: bool, as_written: bool = False
    ) -> None:
        self.content, self.strict, self.as_written = content, strict, as_written
        self.faults: list[Fault] = []
        for fault in content.faults:
            self._fault(fault)
        if not content.rows:
            raise _empty(content, self.faults)
        self.columns = choose_columns(content, wanted, several)
        if not content.image and not wanted.image:
            self.columns = finest(content, self.columns)
        self._aliases = _Aliases(self.columns)

    def __iter__(self) -> Iterator[_Entry]:
        for row in self.content.rows:
            if self._is_error(row):
                self.content.mended["left out, for which the table has an error"] += 1
                continue
            try:
                yield from self._entries(row)
            except _RowError as error:
                self._fault(Fault(self.content.place(row.number), str(error)))

    def finish(self, captions: ById[Any]) -> None:
        """Hands over aliases, faults and layout, and logs what was mended. Raises CaptionsError if there is no
        caption."""
        name = self.content.path
        if not captions:
            raise _empty(self.content, self.faults)
        captions.aliases |= self._aliases.names()
        captions.faults.extend(self.faults)
        captions.layout.append(f"{name}: {self.content.layout}, {self.columns}")
        notes = [f"{name}: {count} caption{'s' * (count != 1)} {what}" for what, count in self.content.mended.items()]
        if self.columns.guessed:
            notes.append(f"{name}: the captions are taken from the column {self.columns.captions[0][0]}")
        for note in notes:
            _log.warning("%s", note)
        captions.layout.extend(notes)

    def _is_error(self, row: CaptionRow) -> bool:
        """Whether a row of a table that wordgaze wrote has the error of an image instead of its caption."""
        captions = (row.values.get(name) for group in self.columns.captions for name in group)
        return bool(row.values.get("error")) and not any(captions)

    def _entries(self, row: CaptionRow) -> Iterator[_Entry]:
        place = self.content.place(row.number)
        keys = self._keys(row)
        texts = self._texts(row, keys[0])
        split = row.values.get(self.columns.split) if self.columns.split else None
        for key in keys:
            self._aliases.add(key, row)
            yield _Entry(place, key, texts, "" if split is None or split != split else str(split).strip())

    def _keys(self, row: CaptionRow) -> list[str]:
        """The images of a row: usually one, but one report may describe several."""
        name = next((each for each in self.columns.image if each in row.values), None)
        if name is None:
            raise _RowError(f"has no {self.columns.image[0]}, which names the image; add it")
        value = row.values[name]
        values = value if isinstance(value, list) and value else [value]
        for one in values:
            if not is_id(one):
                raise _RowError(f"{name} is {shown(one)}; an id is a text or an integer")
            if SURROGATES.search(str(one)):
                raise _RowError(f"{shown(one)} contains a lone surrogate, which is not a character; correct it")
        return [str(one).strip() for one in values]

    def _texts(self, row: CaptionRow, key: str) -> list[str]:
        """The captions of a row; a missing one of several is left out, and a missing single one is ""."""
        group = next((group for group in self.columns.captions if any(name in row.values for name in group)), None)
        if group is None:
            raise _RowError(f"{key!r} has no {self.columns.captions[0][0]}; add it")
        values = [
            text
            for name in group
            for text in caption_texts(row.values.get(name), canonical(name) in _SEVERAL or len(group) > 1)
        ]
        if len(values) > 1:
            values = [
                value
                for value in values
                if value is not None and value == value and (self.as_written or str(value).strip())
            ] or values[:1]
        try:
            if self.as_written:
                return list(map(written_caption, values))
            cleaned = [clean_caption(value, self.strict, self.content.mended) for value in values]
        except NotACaptionError as error:
            raise _RowError(f"{key!r}: {group[0]} is {error}; correct or remove it") from error
        return [text or "" for text in cleaned]

    def _fault(self, fault: Fault) -> None:
        if self.strict:
            raise CaptionsError(
                f"{fault.place}{' ' if fault.reason.startswith(('is ', 'has ')) else ': '}{fault.reason}"
            )
        self.faults.append(fault)


class _RowError(ValueError):
    """A row that cannot be used; the message follows its place."""


class _Aliases:
    """The other names of images. A column is kept if no image has two values in it, and a value if one image has it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = [*columns.aliases, *columns.image[1:]]
        self._values: dict[str, dict[str, str]] = {column: {} for column in self._columns}
        self._keys: dict[str, dict[str, str]] = {column: {} for column in self._columns}

    def add(self, key: str, row: CaptionRow) -> None:
        for column in list(self._values):
            value = row.values.get(column)
            if not is_id(value):
                continue
            text = str(value).strip()
            if self._values[column].setdefault(key, text) != text:
                del self._values[column]
            elif self._keys[column].setdefault(text, key) != key:
                self._keys[column][text] = ""  # the name of several images

    def names(self) -> dict[str, dict[str, str]]:
        """The images by their names, by column."""
        found = {
            column: {name: key for name, key in self._keys[column].items() if key and key != name}
            for column in dict.fromkeys(self._columns)
            if column in self._values
        }
        return {column: names for column, names in found.items() if names}


def _empty(content: CaptionContent, faults: list[Fault]) -> CaptionsError:
    name = content.path
    if not faults:
        return NoCaptionsError(f"{name} holds no captions; give a file with at least one")
    example = str(faults[0])
    shown = example if len(example) <= _MAX_EXAMPLE else f"{example[:_MAX_EXAMPLE]}…"
    return CaptionsError(f"{name} holds no usable captions: {_rows_left(len(faults))}, such as {shown}")


def _rows_left(count: int) -> str:
    return f"{count} rows were left out" if count > 1 else "1 row was left out"
