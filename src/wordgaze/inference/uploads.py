"""What people hand in, made safe: a picture, or a zip of pictures. What is wrong with it is told in one sentence."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from PIL import Image

from wordgaze.core.errors import DownloadError, ImageError
from wordgaze.data.datasets.archives import members, read_members
from wordgaze.data.datasets.source import is_picture
from wordgaze.vision.images import load_image

MAX_BYTES = 64 * 2**20
"""Of one picture file."""

_LONGEST = 120  # characters of a name that are shown
_GLANCE = 4096
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


@dataclass(frozen=True)
class Limits:
    """What a zip may hold: entries, bytes of one of them, bytes of all pictures, and these over the zip's own size."""

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
    """A picture to come. ``name`` may be shown; ``read`` gives the file's bytes, or raises DataError for it alone."""

    name: str
    read: Callable[[], bytes]


class Pictures(NamedTuple):
    """Pictures to come: how many, what was left out, and the pictures, to be read in turn, none after the next."""

    total: int
    skipped: tuple[Skipped, ...]
    each: Iterator[Picture]


def open_upload(source: Path | str | bytes, name: str) -> Image.Image:
    """An upright, flat RGB picture from a path or a file's bytes; of an animation, the first frame.

    ``name`` is what the person calls it. Raises ImageError for what is no picture, is broken or too large, as one
    sentence that begins with the name.
    """
    shown = shown_name(name)
    data = source if isinstance(source, bytes) else read_upload(Path(source), name)
    if len(data) > MAX_BYTES:
        raise _too_long(shown, len(data))
    if _is_svg(data[:_GLANCE]):
        raise ImageError(f"{shown}: is an SVG, a drawing and no photograph; save it as PNG and give that")
    try:
        return load_image(data)
    except ImageError as error:
        raise ImageError(f"{shown}: {str(error).removeprefix('the picture: ')}") from error


def read_upload(path: Path, name: str) -> bytes:
    """The bytes of a file. Raises ImageError where it cannot be read, or is too large to be a picture."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ImageError(f"{shown_name(name)}: is no file; give a picture")
        if size > MAX_BYTES:
            raise _too_long(shown_name(name), size)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{shown_name(name)}: cannot be read ({error.strerror}); give it again") from error


def pictures_of_zip(path: Path, name: str, limits: Limits = LIMITS) -> Pictures:
    """The pictures in a zip, which is called ``name``; no entry ever becomes a file.

    Raises DownloadError before anything is unpacked: for names that lead out, links, archives in it, encryption, more
    than the limits allow, a bomb, and what is no zip. Files that are no pictures by their name are skipped.
    """
    shown = shown_name(name)
    with _called(path, shown):
        if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            raise DownloadError(f"{path} is no zip; put the pictures into a .zip file")
        names = members(path, limits.entry)
        if len(names) > limits.entries:
            raise DownloadError(f"{path} holds {len(names)} files, more than the {limits.entries} allowed; split it")
        if nested := [entry for entry in names if entry.lower().endswith(_ARCHIVES)]:
            raise DownloadError(f"{path} holds another archive ({nested[0]!r}); unpack that, and zip its pictures")
        wanted = {entry for entry in names if is_picture(PurePosixPath(entry))}
        skipped = tuple(skip(entry) for entry in names if entry not in wanted)
        found = read_members(path, wanted, max_entry=limits.entry, max_total=limits.total, max_ratio=limits.ratio)
    each = (Picture(shown_name(entry), _called(path, shown)(read)) for entry, read in found)
    return Pictures(len(wanted), skipped, each)


def skip(name: str) -> Skipped:
    """A file that is no picture by its name."""
    return Skipped(shown_name(name), "is no JPEG, PNG, WebP, GIF, BMP or TIFF picture by its name")


def shown_name(name: str) -> str:
    """A name as it may be shown and stored: printable, of bounded length, a path only in so far as it is relative."""
    path = PureWindowsPath(name)  # knows both separators, and drive letters
    whole = path.name if path.anchor or ".." in path.parts else "/".join(path.parts)
    printable = "".join(c if c.isprintable() else "�" for c in whole)
    return "…" + printable[-_LONGEST:] if len(printable) > _LONGEST else printable or "the picture"


@contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Errors tell the name that the person knows, not where the upload lies."""
    try:
        yield
    except DownloadError as error:
        raise DownloadError(str(error).replace(str(path), name)) from error


def _too_long(name: str, size: int) -> ImageError:
    return ImageError(f"{name}: has {size} bytes, more than the {MAX_BYTES} allowed; make it smaller")


def _is_svg(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(b"<") and b"<svg" in text
