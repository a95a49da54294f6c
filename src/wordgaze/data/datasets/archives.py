"""Safe reading of zip and tar archives, and of the pictures in Parquet files.

A member is only ever written to a path that the caller gives.
"""

import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple

from wordgaze.core.errors import DownloadError
from wordgaze.core.progress import Report
from wordgaze.data.datasets.bounded_archives import open_tar, zip_directory_bytes
from wordgaze.data.readers.captions.content import CaptionFile
from wordgaze.data.readers.captions.parquet import embedded_pictures, opened

MAX_ENTRY = 4 * 2**30
MAX_TOTAL = 64 * 2**30
MAX_RATIO = 100
MAX_MEMBERS = 500_000

_CHUNK = 2**20
_HARMLESS = 64 * 2**20  # bytes that may be packed at any ratio: a short repetitive file is not a bomb
_MAX_DIRECTORY_ENTRY = 300  # bytes of a zip's directory for a file: 46, its name, and times or rights
_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".parquet")
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    ValueError,
)  # fmt: skip


class _Member(NamedTuple):
    """A file in an archive: its name with ``/`` between the parts, its unpacked size in bytes, how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive that :func:`members` reads."""
    return name.lower().endswith(_SUFFIXES)


def members(archive: Path, max_entry: int = MAX_ENTRY, max_members: int = MAX_MEMBERS) -> list[str]:
    """The names of the files in an archive, in its order, with ``/`` between their parts.

    Every member is checked. Raises DownloadError, which names the archive and the member, for names that lead out of a
    folder, links and devices, encryption, a member of more than ``max_entry`` bytes, a repeated name, and broken data;
    and for more than ``max_members`` members, before all are listed.
    """
    names: dict[str, None] = {}
    for member in _members(archive, max_entry, max_members):
        if member.name in names:
            raise _refused(archive, member.name, "its name is repeated")
        names[member.name] = None
    return list(names)


def extract(
    archive: Path,
    targets: Mapping[str, Path],
    progress: Report,
    *,
    max_entry: int = MAX_ENTRY,
    max_total: int = MAX_TOTAL,
    max_ratio: float = MAX_RATIO,
) -> None:
    """Writes the members named in ``targets`` to new files, in the order of the archive; ``progress`` counts members.

    Raises DownloadError like :func:`members`, and if the members have more than ``max_total`` bytes or more than
    ``max_ratio`` times the size of the archive (a decompression bomb). Raises OSError if a file cannot be written.
    """
    size, total = archive.stat().st_size, 0
    wanted = (member for member in _members(archive, max_entry) if member.name in targets)
    for done, member in enumerate(wanted, start=1):
        total += member.size
        _check_total(archive, size, total, max_total, max_ratio)
        with targets[member.name].open("xb") as sink:
            for chunk in _chunks(archive, member):
                sink.write(chunk)
        progress(done, len(targets))
        if done == len(targets):  # saves decompressing the rest of a tar
            break


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of one member. Raises DownloadError like :func:`extract`, and if there is no such member."""
    for member in _members(archive, MAX_ENTRY):
        if member.name == name:
            _check_total(archive, archive.stat().st_size, member.size, MAX_TOTAL, MAX_RATIO)
            return _read(archive, member)
    raise DownloadError(f"{archive} has no member {name}; get a fresh copy of it")


def read_members(
    archive: Path,
    names: Collection[str],
    *,
    max_entry: int = MAX_ENTRY,
    max_total: int = MAX_TOTAL,
    max_ratio: float = MAX_RATIO,
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The members in ``names``, in the order of the archive, each with a function that reads it, to be called before
    the next member is requested.

    Raises DownloadError like :func:`extract`, before anything is unpacked. The function raises it if its member is
    broken; the next one can still be read.
    """
    total = sum(member.size for member in _members(archive, max_entry) if member.name in names)
    _check_total(archive, archive.stat().st_size, total, max_total, max_ratio)
    wanted = (member for member in _members(archive, max_entry) if member.name in names)
    return ((member.name, partial(_read, archive, member)) for member in wanted)


def _read(archive: Path, member: _Member) -> bytes:
    return b"".join(_chunks(archive, member))


def _members(archive: Path, max_entry: int, max_members: int = MAX_MEMBERS) -> Iterator[_Member]:
    listed = _LISTED.get(archive.suffix.lower(), _tarred)
    with _broken_as_download_error(archive):
        for number, member in enumerate(listed(archive, max_members), start=1):
            if number > max_members:
                raise too_many_members(archive, max_members)
            if member.size > max_entry:
                reason = f"it has {member.size} bytes, more than the {max_entry} allowed"
                raise _refused(archive, member.name, reason)
            yield member


def _zipped(archive: Path, max_members: int) -> Iterator[_Member]:
    if zip_directory_bytes(archive) > max_members * _MAX_DIRECTORY_ENTRY:
        raise too_many_members(archive, max_members)
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            name = _safe_name(archive, info.filename)
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, name, "it is a link or a device")
            if info.flag_bits & 0x1:
                raise _refused(archive, name, "it is encrypted")
            if not info.is_dir():
                yield _Member(name, info.file_size, partial(opened.open, info))


def _tarred(archive: Path, max_members: int) -> Iterator[_Member]:
    with open_tar(archive, max(_HARMLESS, MAX_RATIO * archive.stat().st_size), max_members) as opened:
        for info in opened:
            if info.isdir():  # among them "./", which is not a safe name
                continue
            name = _safe_name(archive, info.name)
            if not info.isreg():
                raise _refused(archive, name, "it is a link or a device")
            yield _Member(name, info.size, partial(_tar_file, opened, info))


def _embedded(archive: Path, _: int) -> Iterator[_Member]:
    """The pictures in the rows of a Parquet file."""
    with opened(CaptionFile(archive)) as parquet:
        for name, data in embedded_pictures(parquet):
            yield _Member(name, len(data), partial(BytesIO, data))


_LISTED: dict[str, Callable[[Path, int], Iterator[_Member]]] = {".zip": _zipped, ".parquet": _embedded}


def _tar_file(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = opened.extractfile(info)
    assert file is not None  # it is a regular file
    return file


def _chunks(archive: Path, member: _Member) -> Iterator[bytes]:
    """A generator, so that an error in writing the chunks is not mistaken for a broken archive."""
    with _broken_as_download_error(archive, member.name), member.open() as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _safe_name(archive: Path, name: str) -> str:
    path = PureWindowsPath(name)  # handles both separators, and drive letters
    if path.anchor or ".." in path.parts or not path.parts:
        raise _refused(archive, name, "its name leads out of the folder")
    return "/".join(path.parts)


def _refused(archive: Path, name: str, reason: str) -> DownloadError:
    return DownloadError(f"{archive}: {name!r} is not unpacked: {reason}; use an archive that you trust")


def too_many_members(archive: Path, max_members: int) -> DownloadError:
    """The error of an archive with more files than are allowed."""
    return DownloadError(f"{archive} holds more than the {max_members} files allowed; split it")


def _check_total(archive: Path, size: int, total: int, max_total: int, max_ratio: float) -> None:
    if total > max_total:
        raise DownloadError(f"{archive} has {total} bytes unpacked, more than the {max_total} allowed")
    if total > max(_HARMLESS, max_ratio * size):
        raise DownloadError(
            f"{archive} has {total} bytes unpacked, more than {max_ratio:g} times its own {size}: a decompression bomb"
        )


@contextmanager
def _broken_as_download_error(archive: Path, name: str = "") -> Iterator[None]:
    try:
        yield
    except MemoryError as error:  # of a dictionary of gigabytes that the archive asks for
        raise DownloadError(
            f"{archive} needs more memory to be unpacked than there is; pack it with other settings"
        ) from error
    except (*_BROKEN, OSError) as error:
        # Decompressors raise OSError without errno, an invalid seek is EINVAL; errors of the disk are passed on.
        disk = isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
        if disk and not isinstance(error, _BROKEN):
            raise
        what = f"{archive}: {name!r} is broken" if name else f"{archive} cannot be unpacked"
        raise DownloadError(f"{what} ({' '.join(str(error).split())}); get a fresh copy of it") from error
