"""Tables of captions as CSV, JSON lines or Parquet."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from wordgaze.core.errors import CaptionsError
from wordgaze.core.files import atomic_write
from wordgaze.core.tables import write_csv

_Cells = dict[str, Any]  # a row by column
ROW_GROUP = 10_000  # rows of a Parquet file that are held in memory
COLUMNS = ("name", "caption", "log_prob", "probability", "confidence", "is_outlier", "error")
FILE_COLUMNS = (*COLUMNS, "path")


@dataclass(frozen=True)
class Row:
    """One caption of an image, its natural log-probability, its probability, and a small JPEG of the image.

    ``error`` is the message for an image that could not be captioned; the other fields are then empty. ``confidence``
    and ``is_outlier`` are those of the caption, None where the captioner has no calibration; ``naming`` is that of the
    caption too. ``path`` is that of the file, and ``name`` its name; both are valid UTF-8, see
    :func:`wordgaze.core.printable.escaped`.
    """

    name: str
    caption: str = ""
    log_prob: float | None = None
    probability: float | None = None
    error: str | None = None
    thumbnail: bytes = b""
    confidence: float | None = None
    path: str = ""
    naming: str = ""
    is_outlier: bool | None = None


def check_table(path: Path) -> None:
    """Raises CaptionsError when :func:`write_table` does not know the ending, OSError when the path is a folder."""
    if path.suffix.lower() not in _WRITERS:
        raise CaptionsError(f"{path} is not a valid table name; end it with {', '.join(_WRITERS)}")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.suffix.lower() == ".parquet":
        import_module("pyarrow")  # it is optional, and its absence should be noticed before any work


def write_table(rows: Iterable[Row], path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Writes these columns of rows as ``.csv``, ``.jsonl`` or ``.parquet``, atomically and one by one.

    Spreadsheets evaluate a cell that begins with = + - @ as a formula. In the CSV an apostrophe is put in front of
    names, captions and errors that begin so, which spreadsheets read as "this is text". The other two formats hold the
    texts unchanged. Raises CaptionsError for another ending.
    """
    check_table(path)
    records = (cells(row, columns) for row in rows)
    with atomic_write(path) as temporary:
        _WRITERS[path.suffix.lower()](records, temporary, columns)


def unique_names(paths: Iterable[str]) -> Callable[[str], str]:
    """A function that gives each of these paths a name that no other has: its file name, or the last parts of the path
    that tell it from others of the same file name."""
    by_name: dict[str, set[str]] = {}
    for path in paths:
        by_name.setdefault(PurePath(path).name, set()).add(path)
    names: dict[str, str] = {}
    for group in (group for group in by_name.values() if len(group) > 1):
        parts = {path: PurePath(path).parts for path in group}
        for length in range(2, max(map(len, parts.values())) + 1):
            tails = {path: str(PurePath(*parts[path][-length:])) for path in group - names.keys()}
            counts = Counter(tails.values())
            names |= {path: tail for path, tail in tails.items() if counts[tail] == 1}
    return lambda path: names.get(path) or PurePath(path).name


def cells(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """The row by column."""
    return {name: getattr(row, name) for name in columns}


def _write_csv(rows: Iterable[_Cells], path: Path, columns: Sequence[str]) -> None:
    write_csv(path, columns, rows)


def _write_lines(rows: Iterable[_Cells], path: Path, _: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _write_parquet(rows: Iterable[_Cells], path: Path, columns: Sequence[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {**dict.fromkeys(("log_prob", "probability", "confidence"), pa.float64()), "is_outlier": pa.bool_()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    remaining = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(islice(remaining, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema))


_WRITERS: dict[str, Callable[[Iterable[_Cells], Path, Sequence[str]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
