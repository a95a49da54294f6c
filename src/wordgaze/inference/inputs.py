"""The forms in which an image is given to a captioner, and batches of bounded size."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from wordgaze.core.errors import ImageError
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.images import MAX_PIXELS, load_image, upright

BATCH_SIZE = 16

ImageInput: TypeAlias = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]
"""A path, an encoded file's bytes, a PIL image, or a uint8 array of shape (height, width, 3) or (height, width)."""

T = TypeVar("T")


def to_image(image: ImageInput) -> Image.Image:
    """Converts an input to an upright RGB image.

    Transparency is laid on white, and 16-bit grey is scaled to 8 bits. Raises ImageError for a file that is missing or
    broken, and for an array of another shape or type.
    """
    if isinstance(image, Image.Image):
        try:
            image.load()
        except (OSError, ValueError) as error:  # Pillow reads the file only now; it is truncated or already closed
            raise ImageError(f"the image cannot be read ({' '.join(str(error).split())}); open it again") from error
        picture = upright(image)
        return picture if picture.mode == "RGB" else load_image(_encode(picture))
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, bytes):
        return decode_safely(image)
    if isinstance(image, str | Path):
        return decode_safely(Path(image))
    shown = " ".join(repr(image).split())
    raise ImageError(f"{shown:.60} is not an image; give a path, bytes, a PIL image or a uint8 array")


def is_single(images: Any) -> bool:
    """Whether ``images`` is one image, or nothing that could be, and not an iterable of them. A four-dimensional array
    is an iterable."""
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, str | Path | bytes | Image.Image) or not isinstance(images, Iterable)


def image_key(image: Image.Image) -> str:
    """The checksum of an image's pixels. Together with the random seed it determines what is sampled for the image."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def batches(items: Iterable[T], pixels: Callable[[T], int], size: int = BATCH_SIZE) -> Iterator[list[T]]:
    """Groups consecutive items. A batch ends at ``size`` items, or when its images reach ``MAX_PIXELS`` pixels.

    Items are taken from the iterable only as the batches are consumed.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += pixels(item)
        if len(batch) == size or total >= MAX_PIXELS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    is_colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (is_colour or array.ndim == 2) or not array.size:
        raise ImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not an image; "
            "give uint8 of shape (height, width, 3) or (height, width)"
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _encode(image: Image.Image) -> bytes:
    """An image of any mode as a file, which :func:`load_image` converts to RGB. TIFF stores nearly every mode."""
    file = BytesIO()
    try:
        image.save(file, "TIFF")
    except (OSError, KeyError, ValueError) as error:
        raise ImageError(f"an image of mode {image.mode} cannot be converted; convert it to RGB") from error
    return file.getvalue()
