"""The addresses of the images of a batch run: those of a folder, a bucket, a list or a table, in a fixed order.

An address is an absolute path, or that of any file system of fsspec (``s3://bucket/photo.jpg``). A row of a Parquet
file whose column holds the images themselves has the address ``TABLE#COLUMN/ROW``.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from wordgaze.core.errors import CaptionsError, ImageError
from wordgaze.core.printable import escaped
from wordgaze.core.storage import absolute, file_system, is_remote, open_address, retried
from wordgaze.vision.formats import EXTENSIONS
from wordgaze.vision.image_files import ImageFiles

ROW_MARK = "#"
"""Separates the address of a table from a column of images and the number of a row, counted from 0."""

COLUMN_NAMES = ("address", "url", "uri", "path", "image", "file", "file_name", "filename", "key")
"""The columns that hold addresses where none is named, the first that a table has."""

_ROWS = 4096  # of a table that are read at once


def image_addresses(sources: Sequence[str], column: str | None = None) -> Iterator[str]:
    """The addresses of the images in ``sources``, each once.

    A source is a folder, the address of a folder of a bucket, an image, a ``.parquet``, ``.csv`` or ``.tsv`` table with
    a ``column`` of addresses, a Parquet table with a column of images, or a text file with one address per line.
    Without ``column`` the first of COLUMN_NAMES is taken, or the only column that there is. Of each address 8 bytes are
    held in memory.

    Raises AccessError for a source that is not there, ImageError for a folder without images and for a list without a
    line, and CaptionsError for a table without the column.
    """
    seen: set[int] = set()
    for source in sources:
        found = False
        for address in _addresses_of(source, column):
            found = True
            if (key := hash(address)) not in seen:
                seen.add(key)
                yield address
        if not found:
            raise ImageError(f"{source}: there are no images in it ({', '.join(sorted(EXTENSIONS))}); check the path")


def file_name(address: str) -> str:
    """The name of the file at an address."""
    return PurePosixPath(address).name if is_remote(address) else Path(address).name


def _addresses_of(source: str, column: str | None) -> Iterator[str]:
    suffix = PurePosixPath(source).suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(source, column)
    elif suffix in (".csv", ".tsv"):
        yield from _csv(source, "\t" if suffix == ".tsv" else ",", column)
    elif suffix in EXTENSIONS and not _is_folder(source):
        yield absolute(source)
    elif _is_folder(source):
        yield from _remote_folder(source) if is_remote(source) else _local_folder(Path(source))
    else:
        yield from _lines(source)


def _is_folder(source: str) -> bool:
    if not is_remote(source):
        return Path(source).is_dir()
    system, path = file_system(source)
    return bool(retried(lambda: system.isdir(path), source))


def _local_folder(folder: Path) -> Iterator[str]:
    for found in ImageFiles((folder,)):
        if isinstance(found, ImageError):
            raise found
        yield escaped(found.path.absolute())


def _remote_folder(source: str) -> Iterator[str]:
    system, path = file_system(source)
    names = sorted(retried(lambda: system.find(path), source))
    for name in names:
        below = PurePosixPath(name.removeprefix(path))
        if below.suffix.lower() in EXTENSIONS and not any(part.startswith(".") for part in below.parts):
            yield system.unstrip_protocol(name)


def _lines(source: str) -> Iterator[str]:
    with open_address(source) as file, io.TextIOWrapper(file, encoding="utf-8-sig") as lines:
        for line in lines:
            if address := line.strip():
                yield absolute(address)


def _csv(source: str, delimiter: str, column: str | None) -> Iterator[str]:
    with open_address(source) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter=delimiter)
        name = _column(source, rows.fieldnames or (), column)
        yield from (absolute(row[name]) for row in rows if row[name])


def _parquet(source: str, column: str | None) -> Iterator[str]:
    from pyarrow import parquet, types

    with open_address(source) as file:
        table = parquet.ParquetFile(file)
        schema = table.schema_arrow
        name = _column(source, schema.names, column)
        kind = schema.field(name).type
        if types.is_binary(kind) or types.is_large_binary(kind) or types.is_struct(kind):
            yield from (f"{absolute(source)}{ROW_MARK}{name}/{row}" for row in range(table.metadata.num_rows))
            return
        if not (types.is_string(kind) or types.is_large_string(kind)):
            raise CaptionsError(f"{source}: the column {name} holds {kind}; give --column one of addresses or images")
        for batch in table.iter_batches(_ROWS, columns=[name]):
            yield from (absolute(address) for address in batch.column(0).to_pylist() if address)


def _column(source: str, columns: Iterable[str], wanted: str | None) -> str:
    names = list(columns)
    if wanted is not None:
        found = wanted if wanted in names else None
    else:
        found = next((name for name in COLUMN_NAMES if name in names), names[0] if len(names) == 1 else None)
    if found is None:
        missing = f"has no column {wanted}" if wanted else "has several columns"
        raise CaptionsError(f"{source} {missing}; give --column one of {', '.join(names)}")
    return found
