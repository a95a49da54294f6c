"""The caption as the description in an image file: XMP in JPEG and PNG, and IPTC-IIM in JPEG.

Segments and chunks are inserted or replaced; the compressed pixels and all other metadata stay as they are, byte for
byte. Sources: Adobe, XMP Specification Part 3; ITU-T T.81, annex B; PNG (W3C), chunks.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from wordgaze.core.errors import ImageError
from wordgaze.core.printable import printable
from wordgaze.inference.iim import IIM_HEADER, iim_caption, with_iim_caption
from wordgaze.inference.xmp import describe_packet, has_description, new_packet

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_SOS, _APP1, _APP13 = 0xDA, 0xE1, 0xED
_MAX_SEGMENT = 65_533  # bytes of its payload
_MAX_PACKET = 2**24  # bytes of a packet that is compressed


def can_embed(data: bytes) -> bool:
    """Whether the file is a JPEG or a PNG."""
    return data.startswith((_JPEG, _PNG))


def embed_description(data: bytes, text: str, name: str, overwrite: bool) -> bytes | None:
    """The file with ``text`` as its description; None if it has a description and ``overwrite`` is not set.

    ``data`` is one for which :func:`can_embed` is true. Raises ImageError, which begins with ``name``, for metadata
    that is broken.
    """
    embed = _embed_in_jpeg if data.startswith(_JPEG) else _embed_in_png
    try:
        return embed(data, printable(text), name, overwrite)
    except (ValueError, IndexError, zlib.error) as error:
        raise ImageError(f"{name}: its metadata is broken ({error}); use --sidecar xmp for it") from error


class _Part(NamedTuple):
    """A segment of a JPEG or a chunk of a PNG: its kind, its payload, and where it lies in the file."""

    kind: int | bytes
    payload: bytes
    start: int
    end: int


def _embed_in_jpeg(data: bytes, text: str, name: str, overwrite: bool) -> bytes | None:
    segments = list(_segments(data))
    xmp = next((s for s in segments if s.kind == _APP1 and s.payload.startswith(_XMP_HEADER)), None)
    iim = next((s for s in segments if s.kind == _APP13 and s.payload.startswith(IIM_HEADER)), None)
    packet = xmp and xmp.payload.removeprefix(_XMP_HEADER)
    is_described = bool(packet and has_description(packet, name)) or bool(iim and iim_caption(iim.payload).strip())
    if is_described and not overwrite:
        return None
    # After the segments that must come first: JFIF and EXIF. Those behind, such as an index of pictures, move with it.
    place = next((s.start for s in segments if not s.payload.startswith((b"JFIF\0", b"JFXX\0", b"Exif\0"))), len(data))
    new_xmp = _XMP_HEADER + (describe_packet(packet, text, name) if packet else new_packet(text))
    new_iim = with_iim_caption(iim.payload if iim else b"", text)
    changes = [
        (xmp.start if xmp else place, xmp.end if xmp else place, _segment(_APP1, new_xmp)),
        (iim.start if iim else place, iim.end if iim else place, _segment(_APP13, new_iim)),
    ]
    return _changed(data, changes)


def _embed_in_png(data: bytes, text: str, name: str, overwrite: bool) -> bytes | None:
    chunks = list(_chunks(data))
    xmp = next((c for c in chunks if c.kind == b"iTXt" and c.payload.startswith(_XMP_KEYWORD)), None)
    packet = _packet_of_chunk(xmp.payload) if xmp else b""
    if packet and has_description(packet, name) and not overwrite:
        return None
    new = describe_packet(packet, text, name) if packet else new_packet(text)
    chunk = b"iTXt" + _XMP_KEYWORD + b"\0\0\0\0" + new
    whole = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    place = chunks[0].end  # behind the header
    return _changed(data, [(xmp.start, xmp.end, whole) if xmp else (place, place, whole)])


def _segments(data: bytes) -> Iterator[_Part]:
    """The segments of a JPEG that lie before its compressed pixels."""
    place = len(_JPEG)
    while True:
        if data[place : place + 1] != b"\xff":
            raise ValueError("a segment is missing")
        while data[place + 1 : place + 2] == b"\xff":  # a marker may be preceded by such bytes
            place += 1
        marker, length = data[place + 1 : place + 2], int.from_bytes(data[place + 2 : place + 4])
        end = place + 2 + length
        if length < 2 or end > len(data):
            raise ValueError("a segment is cut off")
        yield _Part(marker[0], data[place + 4 : end], place, end)
        if marker[0] == _SOS:
            return
        place = end


def _segment(marker: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_SEGMENT:
        raise ValueError(f"{len(payload)} bytes are too many for one segment")
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2) + payload


def _chunks(data: bytes) -> Iterator[_Part]:
    place = len(_PNG)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        end = place + 12 + length
        if end > len(data):
            raise ValueError("a chunk is cut off")
        yield _Part(data[place + 4 : place + 8], data[place + 8 : end - 4], place, end)
        place = end


def _packet_of_chunk(payload: bytes) -> bytes:
    flags, rest = payload[len(_XMP_KEYWORD) :][:2], payload[len(_XMP_KEYWORD) + 2 :]
    packet = rest.split(b"\0", 2)[2]  # after the language and the translated keyword
    if not flags.startswith(b"\1"):
        return packet
    decompressor = zlib.decompressobj()
    packet = decompressor.decompress(packet, _MAX_PACKET)
    if not decompressor.eof:
        raise ValueError("its XMP is too large or cut off")
    return packet


def _changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The data with the bytes from each start to its end replaced; of two at one place, the first comes first."""
    parts, place = [], 0
    for start, end, new in sorted(changes, key=lambda change: change[0]):
        parts += [data[place:start], new]
        place = end
    return b"".join([*parts, data[place:]])
