"""What decoding an image will cost, told by its header."""

import re
from typing import BinaryIO

LIGHT_PIXELS = 16_000_000
"""Images of at most so many pixels keep their size, and those of common formats are decoded in the own process."""

MAX_SCAN_PIXELS = 1_000_000_000
"""The largest product of a JPEG's scans and pixels that is decoded: a scan visits all pixels, whatever it holds."""

MAX_LIGHT_SCAN_PIXELS = MAX_SCAN_PIXELS // 4
"""The largest such product that is decoded in the own process."""

_JPEG = b"\xff\xd8\xff"
_LIGHT_FORMATS = (_JPEG, b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
_HEAD = 30  # bytes of a WebP up to its size
_CHUNK = 2**20

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9  # ITU-T T.81, table B.1
_USUAL_SCANS = 16
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # that begins a segment, or ends the image


def is_light_header(stream: BinaryIO) -> bool:
    """Whether an image is of a format whose header is cheap to read and whose decoding costs as much as its size says.

    The stream is left at its beginning.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_pixels(head) <= LIGHT_PIXELS  # opening it takes the memory of all pixels
    return head.startswith(_LIGHT_FORMATS)


def count_scans(stream: BinaryIO) -> int:
    """The number of scans of a JPEG, at least 1; 1 for another format. The stream is left at its beginning.

    Up to ``_USUAL_SCANS``, it is an upper bound.
    """
    if stream.read(len(_JPEG)) != _JPEG:
        stream.seek(0)
        return 1
    marker, count, last = bytes((0xFF, _START_OF_SCAN)), 0, b""
    while chunk := stream.read(_CHUNK):
        count += (last + chunk).count(marker)
        last = chunk[-1:]
    stream.seek(0)
    if count <= _USUAL_SCANS:
        return max(count, 1)
    data = stream.read()  # the marker may also be chance, in what follows the image or in its metadata
    stream.seek(0)
    return max(_scans_of(data), 1)


def _scans_of(jpeg: bytes) -> int:
    """The scans up to the end of the image, without the contents of segments."""
    position, count = len(_JPEG) - 1, 0
    while found := _MARKER.search(jpeg, position):
        kind, position = found[1][0], found.end()
        if kind == _END_OF_IMAGE:
            break
        count += kind == _START_OF_SCAN
        position += int.from_bytes(jpeg[position : position + 2])
    return count


def _webp_pixels(head: bytes) -> int:
    """The pixels of the canvas. Source: RFC 9649, sections 2.5 to 2.7."""
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X":
        width, height = int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    return width * height
