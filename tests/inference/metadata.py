"""Reads descriptions with other programs' readers: Exiv2, which digiKam and darktable use, Pillow and ElementTree."""

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image, IptcImagePlugin

try:
    import pyexiv2
except ImportError:
    pyexiv2 = None

DC = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def descriptions(packet: bytes, use_exiv2: bool = True) -> dict[str, str]:
    """The descriptions of an XMP packet by language. Exiv2 reads UTF-8 alone."""
    root = ElementTree.fromstring(packet)
    found = {item.get(LANG, ""): item.text or "" for item in root.findall(f".//{DC}description/{RDF}Alt/{RDF}li")}
    if pyexiv2 is not None and use_exiv2:
        assert exiv2_descriptions(packet) == found
    return found


def exiv2_descriptions(packet: bytes) -> dict[str, str]:
    """As Exiv2 reads them from a sidecar."""
    with pyexiv2.ImageData(packet) as image:
        found: dict[str, str] = image.read_xmp().get("Xmp.dc.description", {})
    return {language.removeprefix('lang="').removesuffix('"'): text for language, text in found.items()}


def read_metadata(data: bytes) -> tuple[str, str | None]:
    """The description in the XMP of a picture, and the caption in its IPTC-IIM."""
    with Image.open(io.BytesIO(data)) as image:
        xmp = image.info.get("xmp", image.info.get("XML:com.adobe.xmp", b""))
        iim: Any = IptcImagePlugin.getiptcinfo(image) or {}
    found = descriptions(xmp.encode() if isinstance(xmp, str) else xmp)
    caption = iim.get((2, 120))
    if pyexiv2 is not None:
        with pyexiv2.ImageData(data) as other:
            assert other.read_iptc().get("Iptc.Application2.Caption") == (None if caption is None else caption.decode())
            assert set(other.read_xmp()["Xmp.dc.description"].values()) == set(found.values())
    return found["x-default"], None if caption is None else caption.decode()


def read_sidecar(path: Path) -> str:
    """The description in an XMP sidecar."""
    return descriptions(path.read_bytes())["x-default"]
