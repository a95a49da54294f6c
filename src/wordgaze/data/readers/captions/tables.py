"""Tables of text: columns separated by commas, semicolons, tabs or bars, with or without a header."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wordgaze.core.tables import unguard_formula
from wordgaze.data.readers.captions.content import CaptionContent, CaptionFile, CaptionLayout, CaptionRow
from wordgaze.data.readers.captions.names import (
    CAPTION_NAMES,
    IMAGE_NAMES,
    SEVERAL_NAMES,
    canonical,
    is_picture_name,
    wide_base,
)  # fmt: skip
from wordgaze.data.records import Fault

JOINED = "with the separator of the columns, without quotes"
UNQUOTED = "in rows whose quotes do not close"

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATOR_LINE = re.compile(r"(?i)\s*\"?sep=(.)\"?\s*")
_KNOWN = frozenset(map(canonical, (*IMAGE_NAMES, *CAPTION_NAMES, *SEVERAL_NAMES, "split")))
_ROWS = 10  # rows that decide whether a file without known names is a table

_Cells = list[str]


class _Dialect(NamedTuple):
    delimiter: str
    has_header: bool
    skipped: int  # lines before the table

    def __str__(self) -> str:
        header = "" if self.has_header else " without a header"
        return f"a table with {_DELIMITERS.get(self.delimiter, repr(self.delimiter))} between the columns{header}"


def _dialect(file: CaptionFile) -> _Dialect | None:
    """How the table is written, or None if the file is not one."""
    lines = _first_lines(file.text)
    if match := _SEPARATOR_LINE.fullmatch(lines[0]):  # by which Excel chooses the separator
        lines = lines[1:]
        return _Dialect(match[1], not _has_picture(lines[:1], match[1]), 1) if lines else None
    named = {delimiter: _num_known(_split(lines[0], delimiter)) for delimiter in _DELIMITERS}
    best = max(named, key=lambda delimiter: named[delimiter])
    if named[best]:
        return _Dialect(best, True, 0)
    for delimiter in _DELIMITERS:
        if _has_picture(lines, delimiter):
            # Without known names, a first line without a picture is a header of other names.
            return _Dialect(delimiter, not _has_picture(lines[:1], delimiter), 0)
    return None


def _first_lines(text: str) -> list[str]:
    lines = [line for line in re.split(r"[\r\n]+", text[: 2**16]) if line.strip()]
    return lines[:_ROWS]


def _split(line: str, delimiter: str) -> _Cells:
    return [cell.strip(' "\ufeff') for cell in line.split(delimiter)]


def _num_known(cells: _Cells) -> int:
    """How many cells are known names of columns; 0 unless one may name the image or there are several."""
    known = [cell for cell in cells if canonical(cell) in _KNOWN or wide_base(cell)]
    names_image = any(canonical(cell) in map(canonical, IMAGE_NAMES) for cell in known)
    return len(known) if (names_image or len(known) > 1) and len(cells) > 1 else 0


def _has_picture(lines: Sequence[str], delimiter: str) -> bool:
    """Whether most lines have several cells, of which one is the name of a picture."""
    rows = [_split(line, delimiter) for line in lines]
    return sum(len(row) > 1 and any(map(is_picture_name, row)) for row in rows) > len(rows) / 2


def _fits(file: CaptionFile) -> bool:
    if _dialect(file) is not None:
        return True
    lines = _first_lines(file.text)  # a table by its ending only: its columns have to be named
    return file.suffix in (".csv", ".tsv") and any(
        delimiter in lines[0] and len({_num_cells(line, delimiter) for line in lines}) == 1 for delimiter in _DELIMITERS
    )


def _num_cells(line: str, delimiter: str) -> int:
    """The number of cells; of a line that is not a whole row, without regard to quotes."""
    try:
        return len(next(csv.reader([line], delimiter=delimiter, strict=True)))
    except csv.Error:
        return line.count(delimiter) + 1


def _read(file: CaptionFile) -> CaptionContent:
    dialect = _dialect(file) or _Dialect(max(_DELIMITERS, key=_first_lines(file.text)[0].count), True, 0)
    mended: Counter[str] = Counter()
    spaced = f"{dialect.delimiter} " in _first_lines(file.text)[0]  # blanks may then precede quotes
    rows = _rows(file.text, dialect.delimiter, spaced, mended)[dialect.skipped :]
    between = dialect.delimiter + " " * spaced
    found: list[CaptionRow] = []
    content = CaptionContent(str(dialect), file.path, ":{}", found, mended=mended)
    header = _header(rows[0][1] if rows else [], dialect)
    surplus_to_last = _may_join(header, rows)
    for number, cells in rows[dialect.has_header :]:
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()  # separators at the end of the line
        if len(cells) > len(header) and surplus_to_last:
            cells = [*cells[: len(header) - 1], between.join(cells[len(header) - 1 :])]  # noqa: PLW2901
            mended[JOINED] += 1
        if len(cells) != len(header):
            reason = f"has {len(cells)} columns instead of {len(header)}; put captions in quotes"
            content.faults.append(Fault(content.place(number), reason))
            continue
        found.append(CaptionRow(number, dict(zip(header, cells, strict=True))))
    return content


def _header(cells: _Cells, dialect: _Dialect) -> _Cells:
    """Unique names of the columns; those without a name are numbered from 1."""
    if not dialect.has_header:
        return [f"column_{number}" for number in range(1, len(cells) + 1)]
    names = [cell.strip().strip('"').strip() or f"column_{number}" for number, cell in enumerate(cells, start=1)]
    return [name if name not in names[:at] else f"{name}_{at + 1}" for at, name in enumerate(names)]


def _may_join(header: _Cells, rows: Sequence[tuple[int, _Cells]]) -> bool:
    """Whether the last column holds captions, which may contain the separator outside quotes."""
    if len(header) < 2:
        return False
    if canonical(header[-1]) in _KNOWN or wide_base(header[-1]):
        return canonical(header[-1]) in map(canonical, (*CAPTION_NAMES, *SEVERAL_NAMES)) or bool(wide_base(header[-1]))
    texts = [row[len(header) - 1].strip() for _, row in rows[: _ROWS * 10] if len(row) == len(header)]
    return sum(" " in text and not is_picture_name(text) for text in texts) > len(texts) / 2


def _rows(text: str, delimiter: str, spaced: bool, mended: Counter[str]) -> list[tuple[int, _Cells]]:
    """The rows that are not blank, each with the number of its last line."""
    limit = csv.field_size_limit(len(text) + 1)  # a cell may contain many references; the limit is global
    try:
        rows = list(_parsed(text, delimiter, spaced))
    except csv.Error:
        rows = list(_by_line(text, delimiter, spaced, mended))
    finally:
        csv.field_size_limit(limit)
    if delimiter in ",;":  # the tables that wordgaze writes, where an apostrophe guards what looks like a formula
        return [(number, list(map(unguard_formula, row))) for number, row in rows]
    return rows


def _parsed(text: str, delimiter: str, spaced: bool) -> Iterator[tuple[int, _Cells]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced)
    return ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))


def _by_line(text: str, delimiter: str, spaced: bool, mended: Counter[str]) -> Iterator[tuple[int, _Cells]]:
    """The rows of a table in which a quote is not closed: every line is a row, and only whole cells are quoted."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            [(_, cells)] = _parsed(line, delimiter, spaced)
        except (csv.Error, ValueError):
            cells = line.rstrip("\n").split(delimiter)
            mended[UNQUOTED] += 1
        yield number, cells


TABLE_LAYOUT = CaptionLayout("table", _fits, _read)
