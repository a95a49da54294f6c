"""The boxes of objects in the training images, as stage ``prepare`` hands them on: relative to the images' sizes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wordgaze.core.checksums import check_file, read_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_write
from wordgaze.data.records import Record

BOXES = "boxes.parquet"
_COLUMNS = ("image", "noun", "left", "top", "right", "bottom")
_PART_ROWS = 50_000
_REPEAT = "run dvc repro -f -s prepare"


class NounBox(NamedTuple):
    """The box of an object that ``noun`` names, from 0 to 1 of the image's width and height."""

    noun: str
    left: float
    top: float
    right: float
    bottom: float


TrainingBoxes = dict[str, list[NounBox]]


def relative_boxes(records: Iterable[Record], images: Path) -> Iterator[tuple[str, NounBox]]:
    """The boxes of the training images of ``records``, whose files are in the folder ``images``.

    Raises DataError for an image that cannot be read.
    """
    for record in records:
        if record.split != "train" or not record.objects:
            continue
        width, height = _size(images / record.image)
        for noun, (left, top, right, bottom) in ((one.noun, one.box) for one in record.objects):
            yield record.image, NounBox(noun, left / width, top / height, right / width, bottom / height)


def _size(path: Path) -> tuple[int, int]:
    """The width and the height of an image, from its header alone."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read ({error}); run dvc repro -f -s download") from error


def write_boxes(folder: Path, boxes: Iterable[tuple[str, NounBox]]) -> None:
    """Writes the boxes of images, a part at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    types = [pyarrow.string()] * 2 + [pyarrow.float64()] * 4
    schema = pyarrow.schema(list(zip(_COLUMNS, types, strict=True)))
    rows = iter(boxes)
    with atomic_write(folder / BOXES) as temporary, ParquetWriter(temporary, schema) as writer:
        while part := list(islice(rows, _PART_ROWS)):
            columns = zip(*((image, *box) for image, box in part), strict=True)
            writer.write_table(pyarrow.table(dict(zip(_COLUMNS, columns, strict=True)), schema))


def read_boxes(folder: Path) -> TrainingBoxes:
    """The boxes of each training image in a folder that ``prepare`` wrote.

    Raises DataError if the file is missing, broken or damaged.
    """
    from pyarrow import parquet

    path = folder / BOXES
    if not path.is_file():
        raise DataError(f"{path} is missing; run dvc repro prepare")
    check_file(path, read_checksums(folder, (BOXES,), _REPEAT)[BOXES], _REPEAT)
    try:
        table = parquet.read_table(path, columns=list(_COLUMNS))
        boxes: TrainingBoxes = {}
        for image, *box in zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True):
            boxes.setdefault(image, []).append(NounBox(*box))
    except Exception as error:  # pyarrow raises various exceptions of its own and of Python
        raise DataError(f"{path} is broken ({' '.join(str(error).split())}); {_REPEAT}") from error
    return boxes
