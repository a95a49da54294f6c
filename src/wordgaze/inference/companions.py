"""The files that are written for one image besides the table: sidecars, a copy with a description, attention maps."""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from wordgaze.core.errors import ImageError
from wordgaze.core.files import atomic_write
from wordgaze.inference.embed import can_embed, embed_description
from wordgaze.inference.sidecar import Sidecar
from wordgaze.inference.xmp import describe_packet, has_description, new_packet
from wordgaze.vision.image_files import ImageFile

_log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class Companion:
    """A file that belongs to one image. ``sidecar`` is None for a copy of the image with a description."""

    path: Path
    sidecar: Sidecar | None = None


@dataclass
class Companions:
    """Names and writes the companions of images; no two images get the same file.

    What exists is kept unless ``overwrite``: a text, a copy, and a description in an XMP sidecar or in the image that
    is copied. An XMP sidecar without a description receives one. ``kept`` counts what was kept. A copy of what is
    neither JPEG nor PNG has its description in a sidecar beside it.
    """

    sidecars: tuple[Sidecar, ...] = ()
    embed: Path | None = None
    overwrite: bool = False
    kept: int = 0
    _taken: set[int] = field(default_factory=set, repr=False)

    def of(self, image: ImageFile) -> list[Companion]:
        """The companions of the next image. Called for every image in the order of the run, it names them alike again
        when the run is continued."""
        found = [Companion(self.free_path(*_sidecar_paths(image.path, each)), each) for each in self.sidecars]
        if self.embed is not None:
            found.append(Companion(self.free_path(self.embed / image.name)))
        return found

    def missing(self, companions: Sequence[Companion], image: Path) -> list[Companion]:
        """Those that are to be written. Raises ImageError for one that cannot be, or that would replace the image."""
        missing = []
        for each in companions:
            with errors_of_one_image(each.path):
                if self.overwrite or not _is_complete(each):
                    check_replaceable(each.path, image)
                    missing.append(each)
        self.kept += len(companions) - len(missing)
        return missing

    def free_path(self, *paths: Path) -> Path:
        """The first of the paths that no other image of this run has, else the first one with a number."""
        first = paths[0]
        numbered = (first.with_name(f"{first.stem}-{number}{first.suffix}") for number in count(2))
        path = next(each for each in chain(paths, numbered) if hash(str(each)) not in self._taken)
        if path != first:
            _log.warning("%s belongs to another image; %s is used", first, path)
        self._taken.add(hash(str(path)))
        return path

    def write(self, companion: Companion, image: Path, text: str) -> None:
        """Writes a companion, whole or not at all.

        Raises ImageError for one that cannot be written, and OSError where no file can be, as on a full disk.
        """
        with errors_of_one_image(companion.path):
            if companion.sidecar is Sidecar.TXT:
                _write(companion.path, f"{text}\n".encode())
            elif companion.sidecar is Sidecar.XMP:
                _write_xmp(companion.path, text)
            else:
                self._write_copy(companion.path, image, text)

    def _write_copy(self, path: Path, image: Path, text: str) -> None:
        """A copy with the description inside or, for a format that is not supported, in a sidecar beside it."""
        data = image.read_bytes()
        if can_embed(data):
            described = embed_description(data, text, str(image), self.overwrite)
            self.kept += described is None
            _write(path, data if described is None else described)
        else:
            _write_xmp(path.with_name(f"{path.name}.xmp"), text)
            _write(path, data)


@contextmanager
def errors_of_one_image(path: Path) -> Iterator[None]:
    """Raises the ImageError of a file that cannot be written, and OSError where no file can be, as on a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise
        remedy = "shorten the name of the image" if error.errno == errno.ENAMETOOLONG else "check the permissions"
        raise ImageError(f"{error.filename or path}: cannot be written ({error.strerror}); {remedy}") from error


def check_replaceable(path: Path, image: Path) -> None:
    """Raises ImageError when an output of an image would replace the image, or its folder cannot be written."""
    if path.exists() and path.samefile(image):
        raise ImageError(f"{image} would be overwritten; choose another name for the output")
    if path.parent.exists() and not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path}: cannot be written ({os.strerror(errno.EACCES)}); check the permissions")


def _sidecar_paths(image: Path, sidecar: Sidecar) -> tuple[Path, ...]:
    """The path of a sidecar, and the one to take where another image has it.

    Trainers look for ``a.txt``. digiKam, darktable, PhotoPrism and Immich find ``a.jpg.xmp``, which two images of one
    stem do not share; Lightroom reads no sidecar of a JPEG, but the description in the file.
    """
    whole = image.with_name(f"{image.name}.{sidecar}")
    return (image.with_suffix(f".{sidecar}"), whole) if sidecar is Sidecar.TXT else (whole,)


def _is_complete(companion: Companion) -> bool:
    """Whether a companion exists and, if it is XMP, holds a description."""
    if companion.sidecar is Sidecar.XMP:
        return _has_bytes(companion.path) and has_description(companion.path.read_bytes(), str(companion.path))
    return os.path.lexists(companion.path)


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _write_xmp(path: Path, text: str) -> None:
    _write(path, describe_packet(path.read_bytes(), text, str(path)) if _has_bytes(path) else new_packet(text))


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
