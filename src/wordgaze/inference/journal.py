"""The unfinished table of a long run: the rows written so far, which a second run continues from.

The journal is a file of JSON lines beside the table, named after it with ``.part`` appended. Its first line holds the
key of the run, which is a fingerprint of model and settings; each further line holds one image and its rows. Each line
is handed to the operating system as soon as it is complete, so a killed process loses at most the line it was writing.
A line ends with a checksum. After a loss of power, the lines from the first one that does not match are cut off.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import SEEK_END, RawIOBase
from pathlib import Path
from typing import Any
from zlib import crc32

from wordgaze.core.errors import CaptionsError
from wordgaze.inference.table import FILE_COLUMNS, Row, cells

_BEGIN = b'{"key": '

_log = logging.getLogger(__name__)


class Journal:
    """The rows of images by the id of the image. Only a hash of each id and its entry's position are held in memory."""

    def __init__(self, path: Path, file: RawIOBase, key: str) -> None:
        self.path, self._file = path, file
        self._positions: dict[int, int] = {}
        if not self._read(key):
            self._file.truncate(0)
            self._write({"key": key})

    def __len__(self) -> int:
        return len(self._positions)

    def position(self, image: str) -> int | None:
        """The position of the entry of an image, or None if it has none."""
        return self._positions.get(hash(image))

    def add(self, image: str, rows: Iterable[Row], is_done: bool = True) -> int:
        """Appends the rows of an image and returns the position of the entry.

        The entry of an image that is not ``is_done`` is not found again: a second run captions the image. Raises
        OSError, which names the file, when the rows cannot be written.
        """
        entry = {"image": image if is_done else None, "rows": [cells(row, FILE_COLUMNS) for row in rows]}
        position = self._write(entry)
        if is_done:
            self._positions[hash(image)] = position
        return position

    def rows(self, positions: Iterable[int]) -> Iterator[Row]:
        """The rows of the entries at these positions, read from the file one entry at a time."""
        with self.path.open("rb") as file:
            for position in positions:
                file.seek(position)
                entry = _parse(file.readline())
                if entry is None:
                    raise CaptionsError(f"{self.path} was changed while it was written; run the command again")
                yield from (Row(**row) for row in entry["rows"])

    def _read(self, key: str) -> bool:
        """Finds the entries of an earlier run with the same key, and cuts off an incomplete last line."""
        with self.path.open("rb") as file:
            header = _parse(file.readline())
            if header is None or header.get("key") != key:
                return False
            end = file.tell()
            while entry := _parse(file.readline()):
                if entry["image"] is not None:
                    self._positions[hash(entry["image"])] = end
                end = file.tell()
        self._file.truncate(end)
        return True

    def _write(self, entry: dict[str, Any]) -> int:
        """Appends a line and returns its position."""
        position = self._file.seek(0, SEEK_END)
        text = json.dumps(entry, allow_nan=False).encode()
        line = memoryview(b"%s\t%08x\n" % (text, crc32(text)))
        try:
            while line:  # the operating system may take a part of the line only
                line = line[self._file.write(line) :]
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
        return position


@contextmanager
def open_journal(table: Path, key: str, resume: bool = True) -> Iterator[Journal]:
    """Opens the journal of ``table``, and deletes it at the end if the block succeeds or nothing was added.

    A journal that was written with another key is started again, and without ``resume`` so is any journal. Raises
    CaptionsError if the file of that name is not a journal, or another run is writing it.
    """
    path = table.with_name(f"{table.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    is_old = path.exists()
    with path.open("ab", buffering=0) as file:
        _lock(file, path)
        _check(path)
        if not resume:
            file.truncate(0)
            is_old = False
        journal = Journal(path, file, key)
        if is_old and not len(journal):
            _log.warning("%s was written with another model or other settings; it is started again", path)
        try:
            yield journal
        except BaseException:
            if not len(journal):
                path.unlink(missing_ok=True)
            raise
    path.unlink(missing_ok=True)


def _lock(file: RawIOBase, path: Path) -> None:
    """Keeps other runs from the journal until the file is closed. Windows, which has no ``fcntl``, is left out."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CaptionsError(
            f"{path} is being written by another run; wait for its end, or choose another table"
        ) from error
    except OSError:  # a file system without locks
        return


def _check(path: Path) -> None:
    """Raises CaptionsError for what is not a journal, even one whose first line is incomplete."""
    with path.open("rb") as file:
        begin = file.read(len(_BEGIN))
    if not _BEGIN.startswith(begin.rstrip(b"\0")):  # zeros are what a loss of power can leave of any file
        raise CaptionsError(f"{path} was not written by wordgaze; move it, or choose another name for the table")


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line as an object, or None where it is not complete or not as it was written."""
    text, _, end = line.rpartition(b"\t")
    return json.loads(text) if end == b"%08x\n" % crc32(text) else None
