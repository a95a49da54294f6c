"""The description in an XMP packet (dc:description, x-default): read, or written and every other byte left as it is.

A packet is never written again from what a parser understood of it. The parser tells where an element lies, and the
bytes there are replaced. Source: Adobe, XMP Specification Part 1, 8.2.2.4 (language alternatives).
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from wordgaze.core.errors import ImageError
from wordgaze.core.printable import printable

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_DESCRIPTION = f"{_DC} description"
_ABOUT = (f"{_RDF} about", "about")
_LANG = "http://www.w3.org/XML/1998/namespace lang"
_ENTITIES = {chr(code): f"&#{code};" for code in (9, 10, 13)}

_NEW = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="{rdf}">
{block}</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


def new_packet(text: str) -> bytes:
    """A packet that holds this description alone."""
    return _NEW.format(rdf=_RDF, block=_block(text, '""').decode()).encode()


def has_description(packet: bytes, name: str) -> bool:
    """Whether a packet holds a description that is not blank. Raises ImageError as :func:`describe_packet` does."""
    parsed = _parse(packet, name)
    in_elements = any(element.text.strip() for element in parsed if _DESCRIPTION in (element.name, element.parent))
    return in_elements or any(element.attributes.get(_DESCRIPTION, "").strip() for element in parsed)


def describe_packet(packet: bytes, text: str, name: str) -> bytes:
    """The packet with ``text`` as its description in the default language; descriptions in other languages are kept.

    Raises ImageError, which begins with the file's ``name``, for what is not XMP in an encoding that extends ASCII, and
    for a document type declaration, since its entities could expand without limit.
    """
    parsed = _parse(packet, name)
    if any(_DESCRIPTION in element.attributes for element in parsed):
        raise ImageError(f"{name}: holds its description in an attribute; remove it there")
    description = next((element for element in parsed if element.name == _DESCRIPTION), None)
    if description is None:
        rdf = next((element for element in parsed if element.name == f"{_RDF} RDF"), None)
        if rdf is None or not any(rdf.start < element.start < rdf.close for element in parsed):
            raise ImageError(f"{name}: is not valid XMP (it has no content in rdf:RDF); repair or remove it")
        abouts = (element.attributes.get(key) for element in parsed for key in _ABOUT)
        about = next((each for each in abouts if each is not None), "")
        return _splice(packet, rdf.close, rdf.close, _block(text, quoteattr(about, _ENTITIES)))
    inside = [e for e in parsed if e.name == f"{_RDF} li" and description.start < e.start < description.close]
    default = next((e for e in inside if e.attributes.get(_LANG, "").lower() == "x-default"), None)
    if default is not None:
        return _splice(packet, default.start, default.end, _item(text))
    if inside:
        return _splice(packet, inside[0].start, inside[0].start, _item(text))
    return _splice(packet, description.start, description.end, _element(text))


@dataclass
class _Element:
    """An element: its start tag begins at byte ``start``, its end tag at ``close``, and it ends before ``end``.

    ``parent`` is the description that it lies in, if any;
    ``text`` is its own.
    """

    name: str
    attributes: dict[str, str]
    start: int
    parent: str = ""
    close: int = -1
    end: int = -1
    text: str = field(default="", repr=False)


class _Reader:
    """Receives the events of the parser. An element has ended where the next event begins."""

    def __init__(self) -> None:
        self.elements: list[_Element] = []
        self._open: list[_Element] = []
        self._ended: _Element | None = None
        self._parser = ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = False
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.DefaultHandler = lambda _: self._next()
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self, packet: bytes) -> list[_Element]:
        self._parser.Parse(packet, True)
        return self.elements

    def _next(self) -> None:
        if self._ended is not None:
            self._ended.end, self._ended = self._parser.CurrentByteIndex, None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._next()
        parent = _DESCRIPTION if any(each.name == _DESCRIPTION for each in self._open[-3:]) else ""
        element = _Element(name, attributes, self._parser.CurrentByteIndex, parent)
        self.elements.append(element)
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._next()
        self._ended = self._open.pop()
        self._ended.close = self._parser.CurrentByteIndex

    def _text(self, text: str) -> None:
        self._next()
        self._open[-1].text += text

    def _refuse(self, *_: object) -> NoReturn:
        raise ValueError("it has a document type declaration")


def _parse(packet: bytes, name: str) -> list[_Element]:
    try:
        if b"\0" in packet[:64]:
            raise ValueError("its encoding is not UTF-8")
        return _Reader().read(packet)
    except (ExpatError, ValueError, LookupError) as error:
        raise ImageError(f"{name}: is not valid XMP ({error}); repair or remove it") from error


def _splice(packet: bytes, start: int, end: int, new: bytes) -> bytes:
    return packet[:start] + new + packet[end:]


def _block(text: str, about: str) -> bytes:
    return (
        f' <rdf:Description rdf:about={about} xmlns:rdf="{_RDF}">\n  '.encode("ascii", "xmlcharrefreplace")
        + _element(text)
        + b"\n </rdf:Description>\n"
    )


def _element(text: str) -> bytes:
    opened = f'<dc:description xmlns:dc="{_DC}" xmlns:rdf="{_RDF}"><rdf:Alt>'.encode()
    return opened + _item(text) + b"</rdf:Alt></dc:description>"


def _item(text: str) -> bytes:
    """References instead of letters beyond ASCII are right in every encoding that a packet may have."""
    item = f'<rdf:li xmlns:rdf="{_RDF}" xml:lang="x-default">{escape(_valid(text))}</rdf:li>'
    return item.encode("ascii", "xmlcharrefreplace")


def _valid(text: str) -> str:
    """One line of characters that XML permits."""
    return re.sub("[\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", printable(text))
