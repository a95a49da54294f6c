"""Uploaded images and zips of images, which are not trusted. Every error is one sentence."""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from PIL import Image

from wordgaze.core.errors import DownloadError, ImageError
from wordgaze.data.datasets.archives import members, read_members
from wordgaze.data.datasets.source import is_picture
from wordgaze.inference.encoded_images import MAX_BYTES
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.formats import FORMAT_NAMES

_MAX_NAME = 120  # characters of a name that are shown
_HEAD_BYTES = 4096
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True)
class Limits:
    """Limits of a zip: number of entries, bytes per entry, bytes of all images, and their ratio to the zip's size."""

    entries: int = 10_000
    entry: int = MAX_BYTES
    total: int = 4 * 2**30
    ratio: float = 100


LIMITS = Limits()


class Skipped(NamedTuple):
    """A file that is left out, and why."""

    name: str
    reason: str


class Picture(NamedTuple):
    """An image that has not been read yet. ``name`` is safe to show; ``read`` returns the file's bytes or raises
    DataError."""

    name: str
    read: Callable[[], bytes]


class Pictures(NamedTuple):
    """Images that have not been read yet: their number, the files that were left out, and an iterator of the images.

    An image of a zip can be read only until the next one is taken from the iterator.
    """

    total: int
    skipped: tuple[Skipped, ...]
    each: Iterator[Picture]


def find_uploads(sources: Iterable[Path], limits: Limits = LIMITS) -> Pictures:
    """The images in files, folders and zips, in the given order; those of a folder sorted by name.

    Files whose name is not that of an image are listed as skipped, except for hidden ones. Raises DownloadError for a
    zip that is not safe to read.
    """
    parts = [_find(path, limits) for path in sources]
    skipped = chain.from_iterable(part.skipped for part in parts)
    return Pictures(sum(part.total for part in parts), tuple(skipped), chain.from_iterable(p.each for p in parts))


def open_upload(source: Path | str | bytes, name: str) -> Image.Image:
    """Decodes an image from a path or a file's bytes to upright RGB; of an animation, the first frame.

    ``name`` is the user's name for the file. Raises ImageError for a file that is not an image, is broken or too large,
    in one sentence that begins with the name.
    """
    shown = shown_name(name)
    data = source if isinstance(source, bytes) else read_upload(Path(source), name)
    if len(data) > MAX_BYTES:
        raise _too_large(shown, len(data))
    if _is_svg(data[:_HEAD_BYTES]):
        raise ImageError(f"{shown}: is an SVG, which is a drawing and not a photograph; save it as PNG")
    try:
        return decode_safely(data)
    except ImageError as error:
        raise ImageError(f"{shown}: {str(error).removeprefix('the picture: ')}") from error


def read_upload(path: Path, name: str) -> bytes:
    """The bytes of a file. Raises ImageError when it cannot be read or is larger than ``MAX_BYTES``."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ImageError(f"{shown_name(name)}: is not a file; give an image file")
        if size > MAX_BYTES:
            raise _too_large(shown_name(name), size)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"{shown_name(name)}: cannot be read ({error.strerror}); check the file and try again"
        ) from error


def pictures_of_zip(path: Path, name: str, limits: Limits = LIMITS) -> Pictures:
    """The images in a zip, which the user calls ``name``. No entry is ever written to disk.

    Raises DownloadError before anything is unpacked: for a file that is not a zip, encryption, links, nested archives,
    names that lead out of the folder, entries beyond the limits, and zip bombs. Files whose name is not that of an
    image are skipped.
    """
    shown = shown_name(name)
    with _renamed(path, shown):
        if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            raise DownloadError(f"{path} is not a zip; put the pictures into a .zip file")
        names = members(path, limits.entry, limits.entries)
        if nested := [entry for entry in names if entry.lower().endswith(_ARCHIVES)]:
            raise DownloadError(f"{path} holds another archive ({nested[0]!r}); unpack that, and zip its pictures")
        wanted = {entry for entry in names if is_picture(PurePosixPath(entry))}
        skipped = tuple(skip(entry) for entry in names if entry not in wanted)
        entries = read_members(path, wanted, max_entry=limits.entry, max_total=limits.total, max_ratio=limits.ratio)
    each = (Picture(shown_name(entry), _renamed(path, shown)(read)) for entry, read in entries)
    return Pictures(len(wanted), skipped, each)


def skip(name: str) -> Skipped:
    """A file that is left out because its name is not that of an image."""
    return Skipped(shown_name(name), f"does not have the name of a {FORMAT_NAMES} image")


def shown_name(name: str) -> str:
    """A name that is safe to show and store: printable, of bounded length, and a relative path or a file name."""
    path = PureWindowsPath(name)  # knows both separators, and drive letters
    whole = path.name if path.anchor or ".." in path.parts else "/".join(path.parts)
    printable = "".join(c if c.isprintable() else "�" for c in whole)
    return "…" + printable[-_MAX_NAME:] if len(printable) > _MAX_NAME else printable or "the picture"


def _find(path: Path, limits: Limits) -> Pictures:
    if path.is_dir():
        inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        visible = [name for name in inside if not any(part.startswith(".") for part in name.split("/"))]
        return _from_files((path / name, name) for name in visible)
    if path.suffix.lower() == ".zip":
        return pictures_of_zip(path, path.name, limits)
    return _from_files([(path, path.name)])


def _from_files(files: Iterable[tuple[Path, str]]) -> Pictures:
    wanted, skipped = [], []
    for path, name in files:
        if is_picture(PurePosixPath(name)):
            wanted.append(Picture(shown_name(name), partial(read_upload, path, name)))
        else:
            skipped.append(skip(name))
    return Pictures(len(wanted), tuple(skipped), iter(wanted))


@contextmanager
def _renamed(path: Path, name: str) -> Iterator[None]:
    """Replaces the path of the upload in errors by the name that the user knows."""
    try:
        yield
    except DownloadError as error:
        raise DownloadError(str(error).replace(str(path), name)) from error


def _too_large(name: str, size: int) -> ImageError:
    return ImageError(f"{name}: has {size} bytes, more than the {MAX_BYTES} allowed; make it smaller")


def _is_svg(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<") and b"<svg" in text
