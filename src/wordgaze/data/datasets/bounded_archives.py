"""Archives that are opened with bounds: the directory of a zip, and the bytes and headers of a tar."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from wordgaze.core.errors import DownloadError

_END_OF_ZIP, _END_OF_ZIP64 = b"PK\5\6", b"PK\6\6"  # APPNOTE.TXT, 4.3.14 and 4.3.16
_MAX_COMMENT = 2**16
_END_SIZE, _END64_SIZE, _LOCATOR_SIZE = 22, 56, 20
_FULL = 2**32 - 1  # says that the number is in the ZIP64 record

_EXTENDED_HEADERS = frozenset(
    (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
)
_MAX_HEADER = 2**16  # bytes; a path has 4,096 at most
_MAX_HEADERS = 1000  # bytes of such headers that a file may have on the average, and as many in all without a file
_STEP = 2**20
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open), (b"\x5d\0\0", lzma.open))


def zip_directory_bytes(archive: Path) -> int:
    """The bytes that a zip says its directory has, which is read as a whole; 0 for a file that is not a zip."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(size - _MAX_COMMENT - _END_SIZE - _END64_SIZE - _LOCATOR_SIZE, 0))
        tail = file.read()
    end = tail.rfind(_END_OF_ZIP)
    if end < 0:
        return 0
    declared = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(_END_OF_ZIP64, 0, end)
    if declared == _FULL or large >= 0:
        declared = max(declared % _FULL, int.from_bytes(tail[large + 40 : large + 48], "little"))
    return declared


@contextmanager
def open_tar(archive: Path, max_bytes: int, max_members: int) -> Iterator[tarfile.TarFile]:
    """A tar, compressed or not.

    Raises DownloadError while it is read, after ``max_bytes`` bytes have been unpacked, and for headers that are
    longer, or more, than those of ``max_members`` files.
    """
    with ExitStack() as opened:
        file: IO[bytes] = opened.enter_context(archive.open("rb"))
        head = file.read(6)
        file.seek(0)
        opener = next((each for magic, each in _OPENERS if head.startswith(magic)), None)
        if opener is not None:
            unpacked = opened.enter_context(opener(file, "rb"))
            file = io.BufferedReader(_Bounded(unpacked, archive, max_bytes), _STEP)
        yield opened.enter_context(tarfile.TarFile(fileobj=file, tarinfo=_bounded_headers(archive, max_members)))


def _bounded_headers(archive: Path, max_members: int) -> type[tarfile.TarInfo]:
    """A TarInfo that refuses long headers and too many of them, before they are read. Members are counted elsewhere."""
    rest = [_MAX_HEADERS * max_members]

    class BoundedTarInfo(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "BoundedTarInfo":
            header = super().frombuf(buf, encoding, errors)
            if header.type in _EXTENDED_HEADERS:
                rest[0] -= header.size
                if header.size > _MAX_HEADER or rest[0] < 0:
                    raise DownloadError(
                        f"{archive} has a file whose name and attributes take {header.size} bytes, more than it needs;"
                        " use an archive that you trust"
                    )
            return header

    return BoundedTarInfo


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends with an error after so many bytes."""

    def __init__(self, unpacked: Any, archive: Path, max_bytes: int) -> None:
        self._unpacked, self._archive, self._max_bytes = unpacked, archive, max_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        data = self._unpacked.read(len(buffer))
        buffer[: len(data)] = data
        self._check(self._unpacked.tell())
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_CUR:
            offset += self._unpacked.tell()
        # By steps: a seek unpacks what it passes, and the end may come before the limit.
        while (position := self._unpacked.tell()) < offset:
            self._check(position)
            if self._unpacked.seek(min(position + _STEP, offset)) == position:
                break
        return int(self._unpacked.seek(offset) if position > offset else self._unpacked.tell())

    def tell(self) -> int:
        return int(self._unpacked.tell())

    def _check(self, position: int) -> None:
        if position > self._max_bytes:
            raise DownloadError(
                f"{self._archive} has more than {self._max_bytes} bytes unpacked: a decompression bomb; use an archive"
                " that you trust"
            )
