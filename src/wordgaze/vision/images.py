"""Decoding of image files to RGB: upright, without transparency, with 8 bits per channel."""

import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from wordgaze.core.errors import ImageError, ResourceError
from wordgaze.core.files import missing_file_remedy
from wordgaze.core.memory import decoding_budget
from wordgaze.vision.decoding_cost import (
    LIGHT_PIXELS,
    MAX_LIGHT_SCAN_PIXELS,
    MAX_SCAN_PIXELS,
    count_scans,
    is_light_header,
)
from wordgaze.vision.depth import check_deep_colours, grey_converter, is_deep, rgb_of_lab, significant_bits
from wordgaze.vision.formats import (
    FORMAT_NAMES,
    PILLOW_FORMATS,
    RAW_EXTENSIONS,
    UNREAD_EXTENSIONS,
    UnreadFormatError,
)
from wordgaze.vision.plugins import jxl_size, plugin_format, register_plugin

MAX_PIXELS = 64_000_000
"""The largest image that is read."""

_BYTES_PER_PIXEL = 16
"""Memory that decoding takes at most: a picture of four bytes, on white, and without its transparency."""

_BAND = 64  # rows of a reduced image that are converted together

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


class HeavyImageError(Exception):
    """An image is to be decoded in a process of its own."""


def load_image(source: Path | bytes | BinaryIO) -> Image.Image:
    """Decodes an image completely in this process and returns it in mode RGB.

    The format is that of the content, whatever the extension says. The EXIF rotation is applied, transparency is
    composed on white, 16-bit grey is scaled to 8 bits as in :func:`wordgaze.vision.depth.grey_converter`, and of an
    animation the first frame is taken. An image of more than ``LIGHT_PIXELS`` pixels is reduced to a half of its width
    and height, or to a quarter or an eighth, so that it has at most so many.

    Files that are not trusted go through :func:`wordgaze.vision.decoding_process.decode_safely`, with the same result.
    Raises UnreadFormatError, an ImageError, for an image of another format than FORMAT_NAMES, and for HEIC and JPEG XL
    if their plug-in is not installed. Raises ImageError for a file that is not an image, broken or truncated, or whose
    header declares more than ``MAX_PIXELS`` pixels; ResourceError if this machine lacks the memory.
    """
    return _load(source, source if isinstance(source, Path) else Path("the picture"), None, False).picture


def load_reduced(source: Path | bytes, side: int | None, name: str, *, only_light: bool = False) -> ReducedImage:
    """As :func:`load_image`, for thumbnails and statistics, with the same errors.

    A JPEG is decoded at a half, a quarter or an eighth of its size, with both sides of at least ``side`` pixels, which
    is several times as fast; all of its bytes are decoded nevertheless. Images of other formats keep their size.
    ``name`` is what errors call the file. With ``only_light``, HeavyImageError is raised instead of
    decoding an image that may take long or much memory.
    """
    return _load(source, Path(name), side, only_light)


def _load(source: Path | bytes | BinaryIO, name: Path, side: int | None, only_light: bool) -> ReducedImage:
    if not isinstance(source, Path):
        return _of_format(BytesIO(source if isinstance(source, bytes) else source.read()), name, side, only_light)
    try:
        if not source.exists():
            raise ImageError(f"{name}: there is no such file; {missing_file_remedy(name)}")
        if not source.is_file():
            raise ImageError(f"{name}: is a folder or a device, not a file; give the path of an image")
        with source.open("rb") as stream:
            return _of_format(stream, name, side, only_light)
    except OSError as error:
        raise ImageError(f"{name}: cannot be opened ({error.strerror}); check its name and permissions") from error


def _of_format(stream: BinaryIO, path: Path, side: int | None, only_light: bool) -> ReducedImage:
    """Decodes a stream. The extension of its ``path`` tells a format that is not read from a broken file."""
    if path.suffix.lower() in RAW_EXTENSIONS:  # its TIFF thumbnail is not the image
        raise _unread(path)
    try:
        return _from_stream(stream, str(path), side, only_light)
    except _NoImageError as error:
        raise (_unread(path) if path.suffix.lower() in UNREAD_EXTENSIONS else error) from error


def _from_stream(stream: BinaryIO, name: str, side: int | None, only_light: bool) -> ReducedImage:
    if not stream.read(1):
        raise ImageError(f"{name}: is empty (0 bytes); replace or remove it")
    stream.seek(0)
    if only_light and not is_light_header(stream):
        raise HeavyImageError
    with _without_warnings(), _own_errors(name):
        bits, scans = significant_bits(stream), count_scans(stream)
        with Image.open(stream, formats=_formats(stream, name)) as image:
            _check_cost(image.width * image.height, scans, name, only_light)
            with decoding_budget().reserve(_BYTES_PER_PIXEL * image.width * image.height):
                return _decoded(image, bits, side)


def _decoded(image: ImageFile.ImageFile, bits: int, side: int | None) -> ReducedImage:
    deep, whole = is_deep(image), image.size
    reduced = _reduced_size(whole, side)
    is_reduced = reduced is not None and image.draft(None, reduced) is not None  # of a JPEG
    image.load()  # before the EXIF is read: of a TIFF, Pillow applies and removes the rotation here
    if deep:
        check_deep_colours(image)
    turn = _transpose_of(image)
    whole = whole if is_reduced else image.size
    decoded = _flat(image, bits, 1 if is_reduced else _reduction(whole))
    decoded = decoded if turn is None else decoded.transpose(turn)
    decoded.info.clear()  # its orientation has been applied, and applies once
    return ReducedImage(decoded, (whole[1], whole[0]) if turn in _SIDEWAYS else whole, image.format or "")


@contextmanager
def _own_errors(name: str) -> Iterator[None]:
    """Raises what Pillow raises as an error of wordgaze that begins with the name of the file."""
    try:
        yield
    except UnreadFormatError as error:
        raise error if str(error).startswith(name) else UnreadFormatError(f"{name}: {error}") from error
    except (ImageError, HeavyImageError):
        raise
    except MemoryError as error:
        raise _no_memory(name) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise _NoImageError(f"{name}: is not a {FORMAT_NAMES} image; convert or remove it") from error
    except Exception as error:  # Pillow's decoders raise arbitrary exceptions for broken bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        if "out of memory" in reason:  # of a decoder in C, which raises no MemoryError
            raise _no_memory(name) from error
        raise ImageError(f"{name}: is broken ({reason}); replace or remove it") from error


def _check_cost(pixels: int, scans: int, name: str, only_light: bool) -> None:
    if pixels > MAX_PIXELS:
        raise ImageError(_too_large(name))
    if scans * pixels > MAX_SCAN_PIXELS:
        raise ImageError(f"{name}: is a JPEG of {scans} scans, which takes too long to decode; save it again")
    if only_light and (pixels > LIGHT_PIXELS or scans * pixels > MAX_LIGHT_SCAN_PIXELS):
        raise HeavyImageError


def _reduced_size(size: tuple[int, int], side: int | None) -> tuple[int, int] | None:
    """The least size to decode a JPEG at; None for the whole one."""
    factor = _reduction(size)
    if side is not None:
        return side, side
    return None if factor == 1 else (size[0] // factor, size[1] // factor)


def _reduction(size: tuple[int, int]) -> int:
    """How many times smaller a large image is made in width and height: 1, 2, 4 or 8."""
    return next(factor for factor in (1, 2, 4, 8) if size[0] * size[1] <= LIGHT_PIXELS * factor**2)


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


def _no_memory(name: str) -> ResourceError:
    return ResourceError(f"{name}: there is not enough memory to decode it; free some, or make it smaller")


def _too_large(name: str) -> str:
    return f"{name}: has more than {MAX_PIXELS} pixels; make it smaller"


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    # Not ImageOps.exif_transpose: it also rewrites the EXIF, and fails if another of its fields is broken.
    transpose = _transpose_of(image)
    return image if transpose is None else image.transpose(transpose)


def _transpose_of(image: Image.Image) -> Image.Transpose | None:
    return _TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def _flat(image: Image.Image, png_bits: int, factor: int) -> Image.Image:
    """The image in mode RGB, so many times smaller. Bands of rows are converted, which need little memory."""
    convert = _converter(image, png_bits)
    if factor == 1:
        return convert(image)
    width, height = (-(-side // factor) for side in image.size)
    flat = Image.new("RGB", (width, height))
    for top in range(0, height, _BAND):
        rows = (0, top * factor, image.width, min((top + _BAND) * factor, image.height))
        flat.paste(convert(image.crop(rows)).reduce(factor), (0, top))
    return flat


def _converter(image: Image.Image, png_bits: int) -> Callable[[Image.Image], Image.Image]:
    """The function that converts the image, or a part of it, to mode RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = grey_converter(image, png_bits)  # Pillow's own convert would clip at 255
        return lambda part: grey(part).convert("RGB")
    if image.mode == "LAB":
        return rgb_of_lab
    if image.has_transparency_data:
        return _on_white
    return lambda part: part.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


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
