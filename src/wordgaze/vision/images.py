"""Any picture file as one RGB picture: turned upright, flat, with eight bits a channel."""

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from wordgaze.core.errors import ImageError

MAX_PIXELS = 64_000_000
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

# Only these decoders see foreign bytes: some of Pillow's other formats start programs (EPS starts Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: Path | bytes | BinaryIO) -> Image.Image:
    """Decodes a picture completely and gives it in mode RGB.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, and of an animation
    the first frame is taken. Raises ImageError for what is no JPEG, PNG, WebP, GIF, BMP or TIFF file, for a broken
    or truncated one, and for one whose header tells of more than ``MAX_PIXELS`` pixels.
    """
    if not isinstance(source, Path):
        return _from_stream(BytesIO(source if isinstance(source, bytes) else source.read()), "the picture")
    try:
        if not source.exists():
            raise ImageError(f"{source}: there is no such file; check the path")
        if not source.is_file():
            raise ImageError(f"{source}: is a folder or a device, not a file; give the path of a picture")
        with source.open("rb") as stream:
            return _from_stream(stream, str(source))
    except OSError as error:
        raise ImageError(f"{source}: cannot be opened ({error.strerror}); check its name and permissions") from error


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The picture files that ``paths`` name: files as given, folders as their picture files sorted by name.

    Folders are not searched recursively, and hidden files are passed over. Raises ImageError for a path that is
    not there and for a folder without pictures.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _looks_like_picture(p))
            if not inside:
                raise ImageError(f"{path}: the folder holds no pictures ({', '.join(sorted(EXTENSIONS))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ImageError(f"{path}: there is no such file or folder; check the path")
    return found


def _looks_like_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _from_stream(stream: BinaryIO, name: str) -> Image.Image:
    if not stream.read(1):
        raise ImageError(f"{name}: is empty (0 bytes); replace or remove it")
    stream.seek(0)
    with _without_warnings():
        try:
            with Image.open(stream, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(_too_large(name))
                image.load()  # before the EXIF is read: of a TIFF, Pillow applies and removes the rotation here
                return _flat(_upright(image))
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(_too_large(name)) from error
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{name}: is no JPEG, PNG, WebP, GIF, BMP or TIFF picture; convert or remove it"
            ) from error
        except Exception as error:  # on broken bytes Pillow's decoders raise whatever their parsing stumbles over
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"{name}: is broken ({reason}); replace or remove it") from error


def _too_large(name: str) -> str:
    return f"{name}: has more than {MAX_PIXELS} pixels; make it smaller"


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it also writes the EXIF anew, and fails where another of its fields is broken.
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: 32-bit grey has no agreed white, save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)  # (height, width); Pillow's own convert would clip at 255
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


_lock = threading.Lock()
_decoding = 0
_filters = warnings.catch_warnings()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silences Pillow's warnings while any thread decodes.

    The filters belong to the whole process: were each thread to save and restore them by itself, one would put
    back what another had set. So the first thread in saves them and the last one out restores them.
    """
    global _decoding, _filters
    with _lock:
        _decoding += 1
        if _decoding == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _lock:
            _decoding -= 1
            if _decoding == 0:
                _filters.__exit__(None, None, None)
