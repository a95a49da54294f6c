"""Reads the images of a partition ahead of their captioning, and says why one cannot be read."""

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from PIL import Image

from wordgaze.batch.addresses import ROW_MARK
from wordgaze.core.errors import DataError
from wordgaze.core.parallel import map_ahead
from wordgaze.core.storage import AccessError, file_system, read_bytes, retried
from wordgaze.inference.captioned import ImageSource
from wordgaze.vision.decoding_process import decode_reduced

READERS = 16
"""Threads that read files, which wait for the network most of the time."""

AHEAD = 32
"""Files that are held in memory before they are decoded."""

_row_groups_lock = Lock()


def read_ahead(addresses: Iterable[str]) -> Iterator[ImageSource]:
    """What decodes the image at each address, or the error of reading it, in order.

    Files are read by READERS threads, up to AHEAD files ahead.
    """
    return map_ahead(_read, addresses, READERS, AHEAD)


def failure_kind(error: DataError) -> str:
    """``missing``, ``denied`` or ``unreachable`` for a file that could not be read, ``invalid`` for one of no image."""
    return getattr(error, "kind", "invalid")


def _read(address: str) -> ImageSource:
    try:
        return partial(_decode, _contents(address), address)
    except DataError as error:
        return error


def _decode(data: bytes, address: str) -> Image.Image:
    return decode_reduced(data, None, address).picture


def _contents(address: str) -> bytes:
    table, _, cell = address.rpartition(f".parquet{ROW_MARK}")
    if not table:
        return read_bytes(address)
    column, _, row = cell.rpartition("/")
    return _cell(f"{table}.parquet", column, int(row), address)


def _cell(table: str, column: str, row: int, address: str) -> bytes:
    """An image that a Parquet table holds. The rows of a partition follow one another, so that a group is read once."""
    for number, (first, size) in enumerate(_groups(table)):
        if first <= row < first + size:
            with _row_groups_lock:
                cells = _row_group(table, column, number)
            value = cells[row - first].as_py()
            data = value.get("bytes") if isinstance(value, dict) else value
            if data is None:
                raise AccessError(f"{address}: the cell is empty; leave the row out", "missing")
            return bytes(data)
    raise AccessError(f"{address}: the table has no such row; it was changed during the run", "missing")


@lru_cache(maxsize=4)
def _groups(table: str) -> list[tuple[int, int]]:
    """The first row of each row group, and its number of rows."""
    groups, first = [], 0
    for size in retried(lambda: _group_sizes(table), table):
        groups.append((first, size))
        first += size
    return groups


def _group_sizes(table: str) -> list[int]:
    from pyarrow import parquet

    system, path = file_system(table)
    with system.open(path, "rb") as file:
        metadata = parquet.read_metadata(file)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@lru_cache(maxsize=2)
def _row_group(table: str, column: str, number: int) -> Any:
    from pyarrow import parquet

    def read() -> Any:
        system, path = file_system(table)
        with system.open(path, "rb") as file:
            return parquet.ParquetFile(file).read_row_group(number, columns=[column]).column(0)

    return retried(read, table)
