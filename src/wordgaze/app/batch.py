"""Captions for many pictures: a row each, whatever is wrong with one of them, and a table of the rows."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

from PIL import Image

from wordgaze.app.uploads import (
    LIMITS,
    Limits,
    Picture,
    Pictures,
    open_upload,
    pictures_of_zip,
    read_upload,
    shown_name,
    skip,
)
from wordgaze.caption import BATCH
from wordgaze.captioner import Captioner, caption_together
from wordgaze.datasets.source import is_picture
from wordgaze.errors import CaptionsError, DataError
from wordgaze.files import replacing
from wordgaze.params import DecodeParams
from wordgaze.vision.images import MAX_PIXELS

THUMBNAIL = 160  # pixels, the long side
COLUMNS = ("name", "caption", "log_prob", "probability", "error")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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


def find_uploads(sources: Iterable[Path], limits: Limits = LIMITS) -> Pictures:
    """The pictures in files, folders and zips, in the order given; a folder is gone through in the order of names.

    Files that are no pictures by their name are skipped, hidden ones in silence. Raises DownloadError for a zip that
    is not safe to read.
    """
    parts = [_found(path, limits) for path in sources]
    skipped = chain.from_iterable(part.skipped for part in parts)
    return Pictures(sum(part.total for part in parts), tuple(skipped), chain.from_iterable(p.each for p in parts))


def caption_batch(
    captioners: Sequence[Captioner],
    pictures: Pictures,
    decode: DecodeParams,
    cancel: Event,
    batch: int = BATCH,
    seed: int = 0,
) -> Iterator[Row]:
    """Yields ``pictures.total`` rows, in the pictures' order, or fewer where ``cancel`` is set: that ends it between
    two batches.

    A batch is ``batch`` pictures, or fewer of large ones, and no more than that is ever held. Several captioners are
    an ensemble. Raises WordgazeError for what is no picture's fault, as a required word that is unknown.
    """
    for group in _groups(pictures.each, batch):
        if cancel.is_set():
            return
        images = [opened for _, opened in group if isinstance(opened, Image.Image)]
        found = iter(caption_together(captioners, images, decode, seed) if images else ())
        for name, opened in group:
            if isinstance(opened, DataError):
                yield Row(name, error=str(opened))
            else:
                best = next(found)[0]
                yield Row(name, best.text, best.log_prob, math.exp(best.log_prob), None, _thumbnail(opened))


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Writes rows, without thumbnails, as ``.csv``, ``.jsonl`` or ``.parquet``, atomically.

    A spreadsheet takes a cell that begins with = + - @ for a formula and may run it: in the CSV, names, captions and
    errors that begin so get an apostrophe in front, which spreadsheets read as "this is text". The other two hold the
    texts as they are. Raises CaptionsError for another ending.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise CaptionsError(f"{path} is no table that can be written; end its name with {', '.join(_WRITERS)}")
    columns = [{name: asdict(row)[name] for name in COLUMNS} for row in rows]
    with replacing(path) as temporary:
        write(columns, temporary)


def _found(path: Path, limits: Limits) -> Pictures:
    if path.is_dir():
        inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        shown = [name for name in inside if not any(part.startswith(".") for part in name.split("/"))]
        return _loose((path / name, name) for name in shown)
    if path.suffix.lower() == ".zip":
        return pictures_of_zip(path, path.name, limits)
    return _loose([(path, path.name)])


def _loose(files: Iterable[tuple[Path, str]]) -> Pictures:
    wanted, skipped = [], []
    for path, name in files:
        if is_picture(PurePosixPath(name)):
            wanted.append(Picture(shown_name(name), partial(read_upload, path, name)))
        else:
            skipped.append(skip(name))
    return Pictures(len(wanted), tuple(skipped), iter(wanted))


Opened = tuple[str, Image.Image | DataError]


def _groups(pictures: Iterator[Picture], most: int) -> Iterator[list[Opened]]:
    """At most so many pictures, and one more than fit into MAX_PIXELS, a group."""
    group: list[Opened] = []
    pixels = 0
    for picture in pictures:
        opened = _opened(picture)
        group.append((picture.name, opened))
        if isinstance(opened, Image.Image):
            pixels += opened.width * opened.height
        if len(group) == most or pixels >= MAX_PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _opened(picture: Picture) -> Image.Image | DataError:
    try:
        return open_upload(picture.read(), picture.name)
    except DataError as error:
        return error


def _thumbnail(image: Image.Image) -> bytes:
    """Shrinks the picture in place."""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()


def _write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)


def _text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


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
