"""The common form of all layouts: a caption file, the rows that a reader finds in it, and captions by image."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions.encodings import decoded
from wordgaze.data.records import Fault

V = TypeVar("V")


class NoCaptionsError(CaptionsError):
    """A file has no layout of captions, or no column of images or of captions that can be told."""


@dataclass(frozen=True)
class ColumnNames:
    """The columns or keys to read; "" leaves the choice to the reader.

    ``image_option`` and ``caption_option`` are the parameters or options by which a user gives them, for messages; ""
    if there is none.
    """

    image: str = ""
    caption: str = ""
    image_option: str = ""
    caption_option: str = ""


class ById(dict[str, V], Generic[V]):
    """Values by image id.

    ``aliases`` has the other names of the same images: for each other column or key that names an image, its values,
    each with the id of the image. ``places`` maps an id to its first occurrence (file and line), and ``splits`` maps an
    id to the splits that the file names, as written, each with its place. ``folders`` maps an id to the folder of its
    caption file, relative to the source of a data set; names of images may be relative to it. ``faults`` are the rows
    that were left out, and ``layout`` describes in one line per file what was understood.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aliases: dict[str, dict[str, str]] = {}
        self.places: dict[str, str] = {}
        self.splits: dict[str, dict[str, str]] = {}
        self.folders: dict[str, PurePosixPath] = {}
        self.faults: list[Fault] = []
        self.layout: list[str] = []

    @property
    def names(self) -> dict[str, str]:
        """All other names of the images, each with the id of the image."""
        return {name: key for names in self.aliases.values() for name, key in names.items()}


class CaptionFile:
    """A file to read. ``data`` are the bytes of a file in an archive, which ``path`` then only names."""

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path = path
        self._data = data

    @property
    def suffix(self) -> str:
        """The ending of the file name in lower case, with its dot."""
        return self.path.suffix.lower()

    def open(self) -> BinaryIO:
        """The file as a stream. Raises CaptionsError if it cannot be opened."""
        try:
            return self.path.open("rb") if self._data is None else io.BytesIO(self._data)
        except OSError as error:
            raise CaptionsError(f"{self.path} cannot be read ({error.strerror}); give a file of captions") from error

    @property
    def source(self) -> Path | io.BytesIO:
        """What a library can open: the path, or the bytes of a file in an archive."""
        return self.path if self._data is None else io.BytesIO(self._data)

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the file."""
        with self.open() as stream:
            return stream.read(4)

    @cached_property
    def data(self) -> bytes:
        """The bytes of the file. Raises CaptionsError if it cannot be read or is empty."""
        with self.open() as stream:
            data = stream.read()
        if not data.strip():
            raise NoCaptionsError(f"{self.path} is empty; give a file of captions")
        return data

    @cached_property
    def text(self) -> str:
        """The decoded text. Raises CaptionsError if the file is not text."""
        text = decoded(self.path, self.data)
        if not text.strip():
            raise NoCaptionsError(f"{self.path} is empty; give a file of captions")
        return text

    @cached_property
    def first_line(self) -> str:
        """The first line that is not empty."""
        return re.split(r"[\r\n]", self.text[: 2**20].lstrip("\r\n"), maxsplit=1)[0]

    def forget(self) -> None:
        """Drops bytes and text, which are as large as the file."""
        for name in ("data", "text"):
            self.__dict__.pop(name, None)


class CaptionRow(NamedTuple):
    """A row of a table, an object of a JSON file: its number, and its values by column or key."""

    number: int
    values: Mapping[str, Any]


@dataclass
class CaptionContent:
    """The rows of a file. ``row_place`` is a format that follows the path to name the place of a row by its number.

    ``image`` and ``caption`` are the columns where the layout defines them. ``faults`` are the rows that could not be
    read, and ``mended`` counts the repairs by their kind.
    """

    layout: str
    path: Path
    row_place: str
    rows: Sequence[CaptionRow]
    image: str = ""
    caption: str = ""
    faults: list[Fault] = field(default_factory=list)
    mended: Counter[str] = field(default_factory=Counter)

    def place(self, number: int) -> str:
        """The place of a row, for a message."""
        return f"{self.path}{self.row_place.format(number)}"


class CaptionLayout(NamedTuple):
    """A family of caption files: ``fits`` recognises a file and ``read`` returns its rows."""

    name: str
    fits: Callable[[CaptionFile], bool]
    read: Callable[[CaptionFile], CaptionContent]


def shown(value: object) -> str:
    """The beginning of a value, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
