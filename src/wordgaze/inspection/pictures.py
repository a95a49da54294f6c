"""One pass over the image files of a data set: which can be decoded, and what is compared and counted of them."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wordgaze.core.errors import DataError
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.core.progress import track
from wordgaze.data.datasets.archives import read_members
from wordgaze.data.datasets.source import Found
from wordgaze.vision.decoding_process import decode_reduced
from wordgaze.vision.formats import UnreadFormatError

if TYPE_CHECKING:
    from PIL import Image

SIDE = 64  # pixels: a JPEG is decoded at no less
COLOUR_SIDE = 8  # pixels of the square of colours by which two images are compared
_FLAT = 3.0  # standard deviation of the grey levels, 0 to 255, below which an image has nothing to compare
_AHEAD = 4  # images per thread that wait in memory


@dataclass(frozen=True, slots=True)
class InspectedPicture:
    """What is kept of a decoded image.

    ``width`` and ``height`` are of the upright image in pixels, ``checksum`` is that of the file. ``phash`` is the
    64-bit perceptual hash, None for an image without contrast; ``colours`` are (8, 8, 3) bytes of the reduced image.
    """

    format: str
    width: int
    height: int
    num_bytes: int
    checksum: bytes
    phash: int | None
    colours: bytes


class BrokenPicture(NamedTuple):
    """Why an image cannot be decoded: one line that begins with its name.

    ``is_packed_broken`` says that already its archive cannot give the file, which stops the import, and ``is_unread``
    that the image is of a format that is not read.
    """

    reason: str
    is_packed_broken: bool = False
    is_unread: bool = False


class _Item(NamedTuple):
    """A file to decode: its path, or its bytes of an archive, or the error of reading them."""

    name: str
    content: Path | bytes | DataError


def inspect_pictures(pictures: Mapping[str, Found]) -> dict[str, InspectedPicture | BrokenPicture]:
    """Decodes every image once, by several threads and with bounded memory; ``pictures`` maps names to files.

    Raises DownloadError for an archive that cannot be listed or is a decompression bomb.
    """
    threads = available_cpus()
    results = map_ahead(_inspect, _items(pictures), threads, _AHEAD * threads)
    return dict(track(results, "check images", len(pictures)))


def read_pictures(pictures: Mapping[str, Found]) -> Iterator[tuple[str, Path | bytes]]:
    """The files as paths, or as bytes where they lie in an archive; those that cannot be read are left out."""
    for name, content in _items(pictures):
        if not isinstance(content, DataError):
            yield name, content


def _items(pictures: Mapping[str, Found]) -> Iterator[_Item]:
    packed: dict[Path, dict[str, str]] = {}
    for name, file in pictures.items():
        if file.packed:
            packed.setdefault(file.place, {})[file.name_in_archive] = name
        else:
            yield _Item(name, file.label)
    for archive, names in packed.items():
        for member, read in read_members(archive, names.keys()):
            try:
                yield _Item(names[member], read())
            except DataError as error:
                yield _Item(names[member], error)


def _inspect(item: _Item) -> tuple[str, InspectedPicture | BrokenPicture]:
    name, content = item
    if isinstance(content, DataError):
        return name, BrokenPicture(str(content), is_packed_broken=True)
    label = str(content) if isinstance(content, Path) else name  # in errors of the disk
    try:
        reduced = decode_reduced(content, SIDE, name)
        num_bytes, digest = _measure(content)
    except (DataError, OSError) as error:
        reason = str(error).replace(label, name, 1)
        return name, BrokenPicture(reason, is_unread=isinstance(error, UnreadFormatError))
    picture = reduced.picture
    colours = picture.resize((COLOUR_SIDE, COLOUR_SIDE), reducing_gap=2.0).tobytes()
    return name, InspectedPicture(
        "JPEG" if reduced.format == "MPO" else reduced.format,
        *reduced.size,
        num_bytes,
        digest,
        _phash(picture),
        colours,
    )


def _measure(content: Path | bytes) -> tuple[int, bytes]:
    """The number of bytes and their checksum."""
    if isinstance(content, bytes):
        return len(content), hashlib.sha256(content).digest()
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.sha256, usedforsecurity=False)).digest()
        return file.tell(), digest


def _phash(picture: "Image.Image") -> int | None:
    import imagehash

    small = picture.resize((SIDE, SIDE), reducing_gap=2.0).convert("L")
    if np.asarray(small).std() < _FLAT:
        return None
    bits = imagehash.phash(small).hash
    return int.from_bytes(np.packbits(bits).tobytes())
