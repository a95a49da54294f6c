"""Parquet tables, as wordgaze and Hugging Face datasets write them, with or without the pictures themselves."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions.content import CaptionContent, CaptionFile, CaptionLayout, CaptionRow

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_SUFFIX = ".parquet"
_MAGIC = b"PAR1"
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
    except (pa.ArrowException, OSError) as error:
        raise CaptionsError(
            f"{file.path} is not a Parquet file ({str(error).splitlines()[0]}); write it again"
        ) from error


def picture_column(parquet: "ParquetFile") -> str:
    """The column with embedded pictures, which is a struct of ``bytes`` and ``path``; "" if there is none."""
    import pyarrow as pa

    for field in parquet.schema_arrow:
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {
            field.type.field(i).name for i in range(field.type.num_fields)
        }:
            return str(field.name)
    return ""


def picture_names(parquet: "ParquetFile", column: str) -> list[str]:
    """A name for the picture of each row: its file name if each row has another, or else the number of the row."""
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
    for batch in parquet.iter_batches(batch_size=_BATCH, columns=[f"{column}.bytes"]):
        for value in batch.column(0).to_pylist():
            name = next(names)
            if value is not None and value["bytes"]:
                yield name, value["bytes"]


def _fits(file: CaptionFile) -> bool:
    return file.head == _MAGIC or file.suffix == _SUFFIX


def _read(file: CaptionFile) -> CaptionContent:
    import pyarrow as pa

    with opened(file) as parquet:
        embedded = picture_column(parquet)
        try:
            table = parquet.read(columns=[name for name in parquet.schema_arrow.names if name != embedded])
            names = picture_names(parquet, embedded) if embedded else []
        except (pa.ArrowException, OSError) as error:
            raise CaptionsError(f"{file.path} is broken ({str(error).splitlines()[0]}); write it again") from error
    rows: list[dict[str, Any]] = table.to_pylist() if table.num_columns else [{} for _ in names]
    if embedded:
        rows = [{embedded: name, **row} for name, row in zip(names, rows, strict=True)]
    layout = "Parquet with embedded pictures" if embedded else "Parquet"
    return CaptionContent(
        layout, file.path, ": row {}", [CaptionRow(number, row) for number, row in enumerate(rows, start=1)]
    )


PARQUET_LAYOUT = CaptionLayout("Parquet", _fits, _read)
