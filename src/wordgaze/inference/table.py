"""A table of captions as a file."""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wordgaze.core.errors import CaptionsError
from wordgaze.core.files import atomic_write
from wordgaze.core.tables import guard_formula

COLUMNS = ("name", "caption", "log_prob", "probability", "error")


@dataclass(frozen=True)
class Row:
    """A picture's best caption, its natural logarithm of probability, its probability, and a JPEG of the picture.

    Where ``error`` tells what is wrong with the picture, the rest is empty.
    """

    name: str
    caption: str = ""
    log_prob: float | None = None
    probability: float | None = None
    error: str | None = None
    thumbnail: bytes = b""


def check_table(path: Path) -> None:
    """Raises CaptionsError for a name that :func:`write_table` does not know the ending of."""
    if path.suffix.lower() not in _WRITERS:
        raise CaptionsError(f"{path} is no table that can be written; end its name with {', '.join(_WRITERS)}")


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Writes rows, without thumbnails, as ``.csv``, ``.jsonl`` or ``.parquet``, atomically.

    A spreadsheet takes a cell that begins with = + - @ for a formula and may run it: in the CSV, names, captions and
    errors that begin so get an apostrophe in front, which spreadsheets read as "this is text". The other two hold the
    texts as they are. Raises CaptionsError for another ending.
    """
    check_table(path)
    columns = [{name: asdict(row)[name] for name in COLUMNS} for row in rows]
    with atomic_write(path) as temporary:
        _WRITERS[path.suffix.lower()](columns, temporary)


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)


def _text(value: Any) -> Any:
    return guard_formula(value) if isinstance(value, str) else value


def _write_lines(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"log_prob": pa.float64(), "probability": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    parquet.write_table(pa.Table.from_pylist(rows, schema), path)


_WRITERS: dict[str, Callable[[list[dict[str, Any]], Path], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
