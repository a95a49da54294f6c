"""Parquet tables, as wordgaze and Hugging Face datasets write them, with or without the pictures themselves."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, overload

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions.content import CaptionContent, CaptionFile, CaptionLayout, CaptionRow
from wordgaze.data.readers.captions.names import IMAGE_NAMES, position

if TYPE_CHECKING:
    from pyarrow import Field
    from pyarrow.parquet import ParquetFile

_SUFFIX = ".parquet"
_MAGIC = b"PAR1"
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
_BATCH = 256  # rows, of which the pictures are in memory
_ROWS = 4096  # rows without pictures that are in memory


def opened(file: CaptionFile) -> "ParquetFile":
    """The open file. Raises CaptionsError if pyarrow is not installed or the file is broken."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise CaptionsError(f"{file.path} needs pyarrow; install wordgaze[pipeline]") from error
    try:
        return parquet.ParquetFile(file.source)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CaptionsError(f"{file.path} is not a Parquet file ({_reason(error)}); write it again") from error


def picture_column(parquet: "ParquetFile") -> str:
    """The column with embedded pictures: bytes, or structs of ``bytes`` and ``path``; "" if there is none.

    Of several, such as a picture and its mask, it is the one that is called so, or else the first.
    """
    import pyarrow as pa

    columns = []
    for field in parquet.schema_arrow:
        is_binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        if _is_struct(field) or (is_binary and _holds_pictures(parquet, field.name)):
            columns.append(str(field.name))
    return min(columns, key=lambda name: position(name, IMAGE_NAMES), default="")


def _is_struct(field: "Field") -> bool:
    import pyarrow as pa

    return pa.types.is_struct(field.type) and {"bytes", "path"} <= {each.name for each in field.type.fields}


def _holds_pictures(parquet: "ParquetFile", column: str) -> bool:
    """Whether the first value begins like a picture: some programs store texts as bytes."""
    batch = next(parquet.iter_batches(batch_size=1, columns=[column]), None)
    return batch is not None and (batch.column(0)[0].as_py() or b"").startswith(_SIGNATURES)


def picture_names(parquet: "ParquetFile", column: str) -> list[str]:
    """A name for the picture of each row: its file name if each row has another, or else the number of the row."""
    if not _is_struct(parquet.schema_arrow.field(column)):
        return [f"{number:08}.jpg" for number in range(parquet.metadata.num_rows)]
    table = parquet.read(columns=[f"{column}.path"])
    paths = [None if value is None else value["path"] for value in table.column(column).to_pylist()]
    names = [PurePosixPath(str(path or "").replace("\\", "/")).name for path in paths]
    counts = Counter(name.casefold() for name in names)
    if all(names) and max(counts.values(), default=1) == 1:
        return names
    return [f"{number:08}{PurePosixPath(name).suffix or '.jpg'}" for number, name in enumerate(names)]


def embedded_pictures(parquet: "ParquetFile") -> Iterator[tuple[str, bytes]]:
    """The pictures with their names, without the rows that have none."""
    column = picture_column(parquet)
    if not column:
        return
    names = iter(picture_names(parquet, column))
    of_struct = f"{column}.bytes" if _is_struct(parquet.schema_arrow.field(column)) else ""
    for batch in parquet.iter_batches(batch_size=_BATCH, columns=[of_struct or column]):
        for value in batch.column(0).to_pylist():
            name = next(names)
            data = value["bytes"] if of_struct and value is not None else value
            if data:
                yield name, data


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _fits(file: CaptionFile) -> bool:
    return file.head == _MAGIC or file.suffix == _SUFFIX


def _read(file: CaptionFile) -> CaptionContent:
    with opened(file) as parquet, _errors_of(file):
        embedded = picture_column(parquet)
        names = picture_names(parquet, embedded) if embedded else []
        rows = _ParquetRows(file, parquet.metadata.num_rows, parquet.schema_arrow.names, embedded, names)
    layout = "Parquet with embedded pictures" if embedded else "Parquet"
    return CaptionContent(layout, file.path, ": row {}", rows)


class _ParquetRows(Sequence[CaptionRow]):
    """The rows of a table, which are read a few at a time whenever they are iterated.

    ``embedded`` is the column with pictures, in whose place each row has a name of ``names``.
    """

    def __init__(
        self, file: CaptionFile, count: int, columns: Sequence[str], embedded: str, names: Sequence[str]
    ) -> None:
        self._file, self._count, self._embedded, self._names = file, count, embedded, names
        self._columns = [name for name in columns if name != embedded]

    def __iter__(self) -> Iterator[CaptionRow]:
        names = iter(self._names)
        for number, values in enumerate(self._values(), start=1):
            yield CaptionRow(number, {self._embedded: next(names), **values} if self._embedded else values)

    @overload
    def __getitem__(self, place: int) -> CaptionRow: ...

    @overload
    def __getitem__(self, place: slice) -> list[CaptionRow]: ...

    def __getitem__(self, place: int | slice) -> CaptionRow | list[CaptionRow]:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._count)
            return list(islice(self, start, stop, step))
        return next(islice(self, range(self._count)[place], None))

    def __len__(self) -> int:
        return self._count

    def _values(self) -> Iterator[dict[str, Any]]:
        if not self._columns:  # a table of pictures alone
            yield from ({} for _ in range(self._count))
            return
        with opened(self._file) as parquet, _errors_of(self._file):
            for batch in parquet.iter_batches(batch_size=_ROWS, columns=self._columns):
                yield from batch.to_pylist()


@contextmanager
def _errors_of(file: CaptionFile) -> Iterator[None]:
    """A broken table as CaptionsError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError) as error:  # also of broken text
        raise CaptionsError(f"{file.path} is broken ({_reason(error)}); write it again") from error


PARQUET_LAYOUT = CaptionLayout("Parquet", _fits, _read)
