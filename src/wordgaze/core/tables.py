"""CSV tables that a spreadsheet does not run as formulas."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wordgaze.core.files import atomic_write

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guard_formula(text: str) -> str:
    """Text for a cell of a CSV file: an apostrophe is put in front of what a spreadsheet would take for a formula.

    Spreadsheets evaluate a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return, and read a
    leading apostrophe as "this is text". Text that begins with apostrophes and one of these signs gets one apostrophe
    more, so that :func:`unguard_formula` restores every text. Source: OWASP, CSV Injection.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_formula(text: str) -> str:
    """The text that :func:`guard_formula` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a header and rows as UTF-8, atomically. Strings are guarded by :func:`guard_formula`."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(columns)
        for row in rows:
            cells = [_cell(row[name]) for name in columns]
            # Python 3.11 leaves a carriage return outside quotes, where its reader takes it for the end of the row.
            writer = quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else plain
            writer.writerow(cells)


def _cell(value: Any) -> Any:
    return guard_formula(value) if isinstance(value, str) else value
