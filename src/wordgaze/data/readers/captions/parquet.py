"""Parquet tables, as wordgaze and Hugging Face datasets write them, with or without the pictures themselves."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

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
    import pyarrow as pa

    with opened(file) as parquet:
        try:
            embedded, rows = _rows(parquet)
        except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError) as error:  # also of broken text
            raise CaptionsError(f"{file.path} is broken ({_reason(error)}); write it again") from error
    layout = "Parquet with embedded pictures" if embedded else "Parquet"
    return CaptionContent(
        layout, file.path, ": row {}", [CaptionRow(number, row) for number, row in enumerate(rows, start=1)]
    )


def _rows(parquet: "ParquetFile") -> tuple[str, list[dict[str, Any]]]:
    """The column with embedded pictures, and the values of each row, with the name of its picture."""
    embedded = picture_column(parquet)
    table = parquet.read(columns=[name for name in parquet.schema_arrow.names if name != embedded])
    names = picture_names(parquet, embedded) if embedded else []
    rows: list[dict[str, Any]] = table.to_pylist() if table.num_columns else [{} for _ in names]
    if embedded:
        rows = [{embedded: name, **row} for name, row in zip(names, rows, strict=True)]
    return embedded, rows


PARQUET_LAYOUT = CaptionLayout("Parquet", _fits, _read)
