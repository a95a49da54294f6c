"""The caption in the IPTC-IIM of a JPEG (dataset 2:120), which programs read that do not know XMP.

IIM lies in resource 0x0404 of the Photoshop resources in segment APP13. Sources: IPTC-NAA IIM 4.2; Adobe Photoshop File
Formats, Image Resource Blocks; Metadata Working Group 2.0, section 3 (the digest).
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

IIM_HEADER = b"Photoshop 3.0\0"
_IIM, _DIGEST = 0x0404, 0x0425
_CHARSET, _UTF8 = (1, 90), b"\x1b%G"
_VERSION, _CAPTION = (2, 0), (2, 120)
_MAX_CAPTION = 2000  # bytes
_LARGE = 0x8000  # the mark of a dataset whose length has a length of its own


class _Resource(NamedTuple):
    signature: bytes
    id: int
    name: bytes
    data: bytes


class _Dataset(NamedTuple):
    tag: tuple[int, int]
    data: bytes


def iim_caption(payload: bytes) -> bytes:
    """The caption in the payload of a segment; empty if it has none. Raises ValueError for a broken payload."""
    datasets = [each for r in _resources(payload) if r.id == _IIM for each in _datasets(r.data)]
    return next((each.data for each in datasets if each.tag == _CAPTION), b"")


def with_iim_caption(payload: bytes, text: str) -> bytes:
    """The payload of a segment with this caption; all else in it is kept. An empty payload gives a new one.

    Raises ValueError for a broken payload.
    """
    resources = list(_resources(payload)) if payload else []
    old = next((each.data for each in resources if each.id == _IIM), b"")
    iim = _with_caption(list(_datasets(old)), text)
    if not any(each.id == _IIM for each in resources):
        resources.append(_Resource(b"8BIM", _IIM, b"", b""))
    new = {_IIM: iim, _DIGEST: hashlib.md5(iim, usedforsecurity=False).digest()}
    return IIM_HEADER + b"".join(_pack(each._replace(data=new.get(each.id, each.data))) for each in resources)


def _with_caption(datasets: list[_Dataset], text: str) -> bytes:
    """The datasets with the caption in the character set that they declare: UTF-8, else Latin-1."""
    if not datasets:
        datasets = [_Dataset(_CHARSET, _UTF8), _Dataset(_VERSION, b"\0\4")]
    is_utf8 = _Dataset(_CHARSET, _UTF8) in datasets
    caption = _shortened(text) if is_utf8 else text.encode("latin-1", "replace")[:_MAX_CAPTION]
    kept = [each for each in datasets if each.tag != _CAPTION]
    place = next((n for n, each in enumerate(kept) if each.tag > _CAPTION), len(kept))
    kept.insert(place, _Dataset(_CAPTION, caption))
    return b"".join(struct.pack(">BBBH", 0x1C, *each.tag, len(each.data)) + each.data for each in kept)


def _shortened(text: str) -> bytes:
    """The text in UTF-8, cut between two characters."""
    return text.encode()[:_MAX_CAPTION].decode(errors="ignore").encode()


def _resources(payload: bytes) -> Iterator[_Resource]:
    place = len(IIM_HEADER)
    while place < len(payload):
        if len(payload) < place + 7:
            raise ValueError("a resource is cut off")
        signature, number, length = struct.unpack_from(">4sHB", payload, place)
        name = payload[place + 7 : place + 7 + length]
        place += 6 + (length + 2) // 2 * 2  # the name with its length is padded to an even number
        data = _cut(payload, place + 4, int.from_bytes(payload[place : place + 4]))
        yield _Resource(signature, number, name, data)
        place += 4 + (len(data) + 1) // 2 * 2


def _datasets(iim: bytes) -> Iterator[_Dataset]:
    place = 0
    while place < len(iim) and iim[place] == 0x1C:
        head = _cut(iim, place, 5)
        length = int.from_bytes(head[3:])
        if length & _LARGE:
            raise ValueError("a dataset is too large")
        yield _Dataset((head[1], head[2]), _cut(iim, place + 5, length))
        place += 5 + length
    if iim[place:].strip(b"\0"):
        raise ValueError("a dataset is broken")


def _cut(data: bytes, place: int, length: int) -> bytes:
    if place + length > len(data):
        raise ValueError("a length leads beyond the end")
    return data[place : place + length]


def _pack(resource: _Resource) -> bytes:
    name = bytes([len(resource.name)]) + resource.name
    name += b"\0" * (len(name) % 2)
    padding = b"\0" * (len(resource.data) % 2)
    head = struct.pack(">4sH", resource.signature, resource.id)
    return head + name + struct.pack(">I", len(resource.data)) + resource.data + padding
