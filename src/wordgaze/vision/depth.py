"""Images with more than 8 bits per channel, or with other channels than RGB, as 8-bit RGB."""

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffTags import TAGS_V2

from wordgaze.vision.formats import UnreadFormatError

BITS = (8, 10, 12, 14, 16)
"""The depths of sensors and scanners. Without a declaration, the smallest that holds all values is the depth."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 258, 262, 281  # TIFF 6.0
assert {_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE} <= TAGS_V2.keys()
_WHITE_IS_ZERO = 0
_PNG = b"\x89PNG\r\n\x1a\n"
_DARKEST = 15  # the highest byte of a value of 12 bits in 16


def significant_bits(stream: BinaryIO) -> int:
    """The significant bits of a PNG (the largest value of its chunk sBIT), 0 if it declares none or is not a PNG.

    The stream is left at its beginning.
    """
    bits = 0
    if stream.read(len(_PNG)) == _PNG:
        while len(head := stream.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
            size = int.from_bytes(head[:4])
            if head[4:] == b"sBIT" and size <= 4:
                bits = max(stream.read(size), default=0)
                break
            stream.seek(size + 4, 1)
    stream.seek(0)
    return bits


def is_deep(image: Image.Image) -> bool:
    """Whether the colours of an image that is not loaded yet have 16 bits, of which Pillow keeps the upper 8."""
    return image.mode in ("RGB", "RGBA") and any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def check_deep_colours(image: Image.Image) -> None:
    """Raises UnreadFormatError if 16-bit colours use 12 bits at most, so that Pillow has dropped nearly all of them."""
    brightest = max(int(band[1]) for band in image.convert("RGB").getextrema() if isinstance(band, tuple))
    if 0 < brightest <= _DARKEST:
        raise UnreadFormatError("has colours of 12 bits or less in 16 bits; save it with 8 bits, or scaled to 65535")


def grey_converter(image: Image.Image, png_bits: int) -> Callable[[Image.Image], Image.Image]:
    """The function that converts this image, or a part of it, of mode I;16, I or F, to mode L.

    White is the largest value of the bits that the file declares: TIFF's MaxSampleValue or BitsPerSample, PNG's sBIT
    where no value exceeds it. Otherwise it is that of the smallest depth in ``BITS`` that holds all values, because
    cameras, microscopes and X-ray detectors store 10 to 14 bits in 16. Numbers of 32 bits are read as such values, or
    with a decimal point from 0 (black) to 1 (white). Raises UnreadFormatError for others: they have no defined white.
    """
    values = np.asarray(image)  # (height, width)
    low, high = float(values.min()), float(values.max())
    tags = getattr(image, "tag_v2", {})
    is_negative = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    is_fraction = image.mode == "F" and 0 <= low <= high <= 1
    if not is_fraction and (image.mode == "F" or low < 0 or high > _largest(BITS[-1])):
        kind = "values with a decimal point" if image.mode == "F" else "signed values or values of 32 bits"
        raise UnreadFormatError(
            f"has {kind} from {low:g} to {high:g}, of which none is white; save it with 8 or 16 bits"
        )
    white = 1 if is_fraction else _white(image, int(high), png_bits)
    del values  # as large as the image

    def convert(part: Image.Image) -> Image.Image:
        values = np.asarray(part)
        if is_fraction:
            grey = np.rint(values * 255).astype(np.uint8)
        else:
            grey = ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
        return Image.fromarray(255 - grey if is_negative else grey)

    return convert


def _white(image: Image.Image, high: int, png_bits: int) -> int:
    """The value of white in an image with integer values up to ``high``."""
    tags = getattr(image, "tag_v2", {})
    declared = [_first(tags.get(_MAX_SAMPLE_VALUE)), _largest(_first(tags.get(_BITS_PER_SAMPLE))), _largest(png_bits)]
    top = _largest(BITS[-1])
    if white := next((value for value in declared if 0 < value < top and value >= high), 0):
        return white
    if image.format == "JPEG2000":  # Pillow scales it
        return top
    return next(white for white in map(_largest, BITS) if high <= white)


def _largest(bits: int) -> int:
    """The largest value of so many bits, at most 16: a file may declare any number."""
    return (1 << min(max(bits, 0), BITS[-1])) - 1


def _first(value: object) -> int:
    """A tag of one or several numbers, 0 if it is missing."""
    found = value[0] if isinstance(value, tuple) and value else value
    return int(found) if isinstance(found, int) else 0


def rgb_of_lab(image: Image.Image) -> Image.Image:
    """An image of mode LAB (CIE L*a*b*, D50) in sRGB."""
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is not in place
    return converted
