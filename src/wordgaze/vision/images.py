"""Decoding of image files to RGB: upright, without transparency, with 8 bits per channel."""

import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from wordgaze.core.errors import ImageError
from wordgaze.vision.depth import check_deep_colours, grey_8_bits, is_deep, rgb_of_lab, significant_bits
from wordgaze.vision.formats import (
    FORMAT_NAMES,
    PILLOW_FORMATS,
    RAW_EXTENSIONS,
    UNREAD_EXTENSIONS,
    UnreadFormatError,
)
from wordgaze.vision.plugins import jxl_size, plugin_format, register_plugin

MAX_PIXELS = 64_000_000

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


class ReducedImage(NamedTuple):
    """``picture`` is decoded at a reduced size; ``size`` is (width, height) of the whole image, upright, in pixels, and
    ``format`` is the format as Pillow names it."""

    picture: Image.Image
    size: tuple[int, int]
    format: str


class _NoImageError(ImageError):
    """A file is of no known format."""


def load_image(source: Path | bytes | BinaryIO) -> Image.Image:
    """Decodes an image completely and returns it in mode RGB.

    The format is that of the content, whatever the extension says. The EXIF rotation is applied, transparency is
    composed on white, 16-bit grey is scaled to 8 bits as in :func:`wordgaze.vision.depth.grey_8_bits`, and of an
    animation the first frame is taken. Raises UnreadFormatError, an ImageError, for an image of another format than
    FORMAT_NAMES, and for HEIC and JPEG XL if their plug-in is not installed. Raises ImageError for a file that is not
    an image, broken or truncated, or whose header declares more than ``MAX_PIXELS`` pixels.
    """
    return _load(source, Path("the picture"), None).picture


def load_reduced(source: Path | bytes, side: int, name: str) -> ReducedImage:
    """As :func:`load_image`, for thumbnails and statistics, with the same errors.

    A JPEG is decoded at a half, a quarter or an eighth of its size, with both sides of at least ``side`` pixels, which
    is several times as fast; all of its bytes are decoded nevertheless. Images of other formats keep their size.
    ``name`` is the name of the file whose bytes are given.
    """
    return _load(source, Path(name), side)


def _load(source: Path | bytes | BinaryIO, name: Path, side: int | None) -> ReducedImage:
    if not isinstance(source, Path):
        return _of_format(BytesIO(source if isinstance(source, bytes) else source.read()), name, side)
    try:
        if not source.exists():
            raise ImageError(f"{source}: there is no such file; check the path")
        if not source.is_file():
            raise ImageError(f"{source}: is a folder or a device, not a file; give the path of an image")
        with source.open("rb") as stream:
            return _of_format(stream, source, side)
    except OSError as error:
        raise ImageError(f"{source}: cannot be opened ({error.strerror}); check its name and permissions") from error


def _of_format(stream: BinaryIO, path: Path, side: int | None) -> ReducedImage:
    """Decodes a stream. The extension of its ``path`` tells a format that is not read from a broken file."""
    if path.suffix.lower() in RAW_EXTENSIONS:  # its TIFF thumbnail is not the image
        raise _unread(path)
    try:
        return _from_stream(stream, str(path), side)
    except _NoImageError as error:
        raise (_unread(path) if path.suffix.lower() in UNREAD_EXTENSIONS else error) from error


def _from_stream(stream: BinaryIO, name: str, side: int | None) -> ReducedImage:
    if not stream.read(1):
        raise ImageError(f"{name}: is empty (0 bytes); replace or remove it")
    stream.seek(0)
    with _without_warnings():
        try:
            bits = significant_bits(stream)
            with Image.open(stream, formats=_formats(stream, name)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(_too_large(name))
                deep, whole = is_deep(image), image.size
                is_reduced = side is not None and image.draft(None, (side, side)) is not None  # of a JPEG
                image.load()  # before the EXIF is read: of a TIFF, Pillow applies and removes the rotation here
                if deep:
                    check_deep_colours(image)
                turn = _transpose_of(image)
                decoded = _flat(image, bits)
                decoded = decoded if turn is None else decoded.transpose(turn)
                decoded.info.clear()  # its orientation has been applied, and applies once
                width, height = whole if is_reduced else decoded.size
                size = (height, width) if is_reduced and turn in _SIDEWAYS else (width, height)
                return ReducedImage(decoded, size, image.format or "")
        except UnreadFormatError as error:
            raise error if str(error).startswith(name) else UnreadFormatError(f"{name}: {error}") from error
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(_too_large(name)) from error
        except UnidentifiedImageError as error:
            raise _NoImageError(f"{name}: is not a {FORMAT_NAMES} image; convert or remove it") from error
        except Exception as error:  # Pillow's decoders raise arbitrary exceptions for broken bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"{name}: is broken ({reason}); replace or remove it") from error


def _formats(stream: BinaryIO, name: str) -> tuple[str, ...]:
    """The formats to try: those of Pillow, or the one that needs a plug-in."""
    plugin = plugin_format(stream)
    if plugin is None:
        return PILLOW_FORMATS
    register_plugin(plugin, name)
    if plugin == "JXL" and math.prod(jxl_size(stream)) > MAX_PIXELS:
        raise ImageError(_too_large(name))
    return (plugin,)


def _unread(path: Path) -> UnreadFormatError:
    return UnreadFormatError(f"{path}: is of a format that is not read ({path.suffix}); save it as JPEG or PNG")


def _too_large(name: str) -> str:
    return f"{name}: has more than {MAX_PIXELS} pixels; make it smaller"


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    # Not ImageOps.exif_transpose: it also rewrites the EXIF, and fails if another of its fields is broken.
    transpose = _transpose_of(image)
    return image if transpose is None else image.transpose(transpose)


def _transpose_of(image: Image.Image) -> Image.Transpose | None:
    return _TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def _flat(image: Image.Image, png_bits: int) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return grey_8_bits(image, png_bits).convert("RGB")  # Pillow's own convert would clip at 255
    if image.mode == "LAB":
        return rgb_of_lab(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


_lock = threading.Lock()
_decoding = 0
_filters = warnings.catch_warnings()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppresses Pillow's warnings while any thread decodes.

    The warning filters belong to the whole process: if each thread saved and restored them, one would undo the change
    of another. So the first thread saves them and the last one restores them.
    """
    global _decoding, _filters
    with _lock:
        _decoding += 1
        if _decoding == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.|pillow_")
    try:
        yield
    finally:
        with _lock:
            _decoding -= 1
            if _decoding == 0:
                _filters.__exit__(None, None, None)
