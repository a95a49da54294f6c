"""Captions that users corrected: stored in SQLite with the pictures beside it, and exported as a data set."""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from filelock import FileLock
from PIL import Image

from wordgaze.core.errors import CaptionsError, DataError
from wordgaze.core.files import atomic_directory, atomic_write, check_output_folder, sha256
from wordgaze.core.printable import printable
from wordgaze.core.tables import write_csv
from wordgaze.inference.uploads import open_upload, shown_name

_LOCK_TIMEOUT = 30.0  # seconds to wait for the write of another process
MAX_CHARACTERS = 1000
MAX_CORRECTIONS = 100_000
MAX_PICTURE_BYTES = 20 * 2**30
"""Of all pictures together: a client cannot fill the disk by corrections."""

_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE corrections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, checksum TEXT NOT NULL, ending TEXT NOT NULL,
    picture TEXT NOT NULL, suggested TEXT NOT NULL, accepted TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL
);
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))  # they do not print, and words in Persian and Hindi contain them
_NUMBERS = ("nan", "inf", "infinity")  # readers of tables take these words for numbers
_ENDINGS = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"RI": ".webp", b"BM": ".bmp"}  # else TIFF


@dataclass(frozen=True)
class Correction:
    """A person's caption. ``time`` is UTC in ISO 8601; ``checksum`` is the SHA-256 of the picture's file, which is
    named by it; ``picture`` is the user's name of it; ``suggested`` is the caption of this ``version`` of ``model``."""

    id: int
    time: str
    checksum: str
    ending: str
    picture: str
    suggested: str
    accepted: str
    model: str
    version: str

    @property
    def file(self) -> str:
        """The name of the picture's file."""
        return self.checksum + self.ending


class Corrections:
    """The corrections in a database, which the first one creates; any number of threads and processes may write.

    The pictures lie in a folder of the same name without the ending. The methods raise DataError where the database is
    broken, of another version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.pictures = path, path.with_suffix("")

    def add(
        self, picture: bytes | Image.Image, name: str, suggested: str, accepted: str, model: str, version: str
    ) -> int:
        """Stores the caption that a user accepted and the picture: the bytes of a file as they are, an image as PNG.

        Returns the number of corrections. Raises CaptionsError for a caption that cannot be trained on, ImageError for
        bytes that are not a picture, and DataError where MAX_CORRECTIONS or MAX_PICTURE_BYTES would be exceeded.
        """
        caption = _checked(accepted)
        if isinstance(picture, bytes):
            open_upload(picture, name)
        data = picture if isinstance(picture, bytes) else _as_png(picture)
        checksum, ending = hashlib.sha256(data).hexdigest(), _ENDINGS.get(data[:2], ".tif")
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        given = shown_name(name), suggested, caption, model, version
        values = (time, checksum, ending, *(_stored(text) for text in given))
        columns = ", ".join(field.name for field in fields(Correction)[1:])
        with self._open() as connection:
            self._check_room(connection, len(data))
            self._keep(data, checksum + ending)
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO corrections ({columns}) VALUES ({marks})", values)  # nosec B608  # names of our fields
            return _count(connection)

    def all(self) -> list[Correction]:
        """Every correction, the oldest first; none where there is no database yet."""
        if not self.path.exists():
            return []
        columns = ", ".join(field.name for field in fields(Correction))
        with self._open() as connection:
            rows = connection.execute(f"SELECT {columns} FROM corrections ORDER BY id").fetchall()  # nosec B608  # names of our fields
        return [Correction(*row) for row in rows]

    def export(self, folder: Path) -> int:
        """Writes a data set that ``dataset.name: folder`` trains on, whole or not at all; gives its number of captions.

        ``captions.csv`` has the columns image and caption, ``images/`` the pictures. Of one picture all captions that
        differ are kept, in the order in which they were accepted: people may describe it differently, and a
        captioner learns from all of them. Raises DataError where ``folder`` is not empty or its parent is not there,
        where there is nothing to export, and where a picture is missing or was changed.
        """
        check_output_folder(folder, "FOLDER")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise DataError(f"{folder} exists and is not empty; give a new or empty folder")
        captions = dict.fromkeys((each.file, each.accepted) for each in self.all())
        if not captions:
            raise DataError(f"{self.path} contains no corrections; save some on the page of wordgaze app")
        with atomic_directory(folder) as temporary:
            (temporary / "images").mkdir()
            for name in {name for name, _ in captions}:
                self._copy(name, temporary / "images" / name)
            rows = ({"image": f"images/{name}", "caption": caption} for name, caption in captions)
            write_csv(temporary / "captions.csv", ["image", "caption"], rows)
        return len(captions)

    def _check_room(self, connection: sqlite3.Connection, num_bytes: int) -> None:
        """Raises DataError where there is no room for another correction."""
        with suppress(FileNotFoundError):
            num_bytes += sum(entry.stat().st_size for entry in os.scandir(self.pictures))
        if _count(connection) >= MAX_CORRECTIONS or num_bytes > MAX_PICTURE_BYTES:
            raise DataError(
                f"{self.path.name} is full: it holds {MAX_CORRECTIONS} corrections or {MAX_PICTURE_BYTES >> 30} GB of "
                "pictures; export the corrections, and move the file and its folder away"
            )

    def _keep(self, data: bytes, name: str) -> None:
        if not (self.pictures / name).exists():
            with atomic_write(self.pictures / name) as temporary:
                temporary.write_bytes(data)

    def _copy(self, name: str, target: Path) -> None:
        source = self.pictures / name
        if not source.is_file() or sha256(source) != source.stem:
            raise DataError(f"{source} is missing or was changed; restore it from a backup, or delete its corrections")
        shutil.copyfile(source, target)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection; what the block writes is committed at its end, or undone."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT)) as connection:
                if _version(connection) == 0:
                    self._prepare(connection)
                if (version := _version(connection)) != _VERSION:
                    raise DataError(f"{self.path} has version {version}, this wordgaze reads version {_VERSION}")
                with connection:
                    yield connection
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{self.path} cannot be used ({reason}); make it readable and writable") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Two processes that turn one new database to WAL would not wait for each other but fail.
        with FileLock(f"{self.path}.lock", timeout=_LOCK_TIMEOUT):
            if _version(connection) == 0:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM corrections").fetchone()[0])


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _stored(text: str) -> str:
    """A text as it is kept: one line without control characters, of bounded length."""
    return printable(" ".join(text.split()))[:MAX_CHARACTERS]


def _checked(caption: str) -> str:
    """The caption on one line. Raises CaptionsError for what a file of captions cannot hold."""
    line = " ".join(caption.split())
    if line.lower() in _NUMBERS or not any(map(str.isalpha, line)):
        raise CaptionsError(f"{line[:60]!r} does not contain a word; describe the picture")
    if len(line) > MAX_CHARACTERS:
        raise CaptionsError(
            f"the caption has {len(line)} characters, more than the {MAX_CHARACTERS} allowed; shorten it"
        )
    if line[0] in "=+-@" or not line.translate(_JOINERS).isprintable():
        raise CaptionsError(
            f"{line[:60]!r} begins with = + - @ or contains a character that cannot be printed; write words"
        )
    return line


def _as_png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
