"""A description is written into an XMP packet, other readers find it, and nothing else in the packet changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.metadata import descriptions
from wordgaze.core.errors import ImageError
from wordgaze.inference.xmp import describe_packet, has_description, new_packet

EDITED = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<!-- written by hand -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="darktable">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="uuid:7" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5" xmp:Label="a&#xA;b &gt;"
    xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:subject><rdf:Bag><rdf:li>a dog</rdf:li></rdf:Bag></dc:subject>DESCRIPTION
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


def packet(description: str = "") -> bytes:
    return EDITED.replace("DESCRIPTION", description).encode()


def alternatives(*items: str) -> str:
    return f"<dc:description><rdf:Alt>{''.join(items)}</rdf:Alt></dc:description>"


OURS = '<rdf:li xml:lang="x-default">a > b</rdf:li>'
GERMAN = '<rdf:li xml:lang="de-DE">ein Hund</rdf:li>'


def test_a_new_packet_holds_the_description() -> None:
    assert descriptions(new_packet("a <dog> & a 犬\n")) == {"x-default": "a <dog> & a 犬�"}


@pytest.mark.parametrize(
    ("before", "others"),
    [
        ("", {}),
        ("<dc:description/>", {}),
        ("<dc:description></dc:description>", {}),
        (alternatives(), {}),
        (alternatives(OURS), {}),
        (alternatives(OURS, GERMAN), {"de-DE": "ein Hund"}),
        (alternatives(GERMAN), {"de-DE": "ein Hund"}),
        (alternatives(GERMAN, '<rdf:li xml:lang="x-default"/>'), {"de-DE": "ein Hund"}),
    ],
)
def test_only_the_description_of_the_default_language_changes(before: str, others: dict[str, str]) -> None:
    old = packet(before)
    new = describe_packet(old, "a cat", "a.xmp")
    assert descriptions(new) == {"x-default": "a cat", **others}
    start = next(n for n in range(len(old)) if old[n] != new[n])
    end = next(n for n in range(1, len(old)) if old[-n] != new[-n])
    assert b"dc:subject" in old[:start]
    assert b"</rdf:RDF>" in old[-end:]
    assert b'xmp:Label="a&#xA;b &gt;"' in new and b"<!-- written by hand -->" in new
    assert describe_packet(new, "a cat", "a.xmp") == new


def test_a_description_is_found_whatever_its_language() -> None:
    for before in (alternatives(OURS), alternatives(GERMAN), "<dc:description>a dog</dc:description>"):
        assert has_description(packet(before), "a.xmp")
    for before in ("", "<dc:description/>", alternatives(), alternatives('<rdf:li xml:lang="x-default"> </rdf:li>')):
        assert not has_description(packet(before), "a.xmp")


def test_a_description_in_an_attribute_is_kept() -> None:
    old = packet().replace(b"xmp:Rating", b'dc:description="a dog" xmp:Rating')
    assert has_description(old, "a.xmp")
    with pytest.raises(ImageError, match=r"a.xmp: holds its description in an attribute"):
        describe_packet(old, "a cat", "a.xmp")


def test_a_packet_in_another_encoding_stays_readable() -> None:
    old = packet(alternatives('<rdf:li xml:lang="fr">chat mouillé</rdf:li>')).decode().replace("\ufeff", "")
    latin = f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{old.partition("?>")[2].strip()}'.encode("latin-1")
    assert descriptions(describe_packet(latin, "a 犬", "a.xmp"), use_exiv2=False) == {
        "x-default": "a 犬",
        "fr": "chat mouillé",
    }


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"a dog",
        b"\x00\x01",
        packet()[:200],
        packet().decode().encode("utf-16"),
        b"<x/>",
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
        b'<?xml version="1.0" encoding="klingon"?><x/>',
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    ],
)
def test_what_is_not_xmp_is_refused_by_name(broken: bytes) -> None:
    with pytest.raises(ImageError, match=r"^a.xmp: is not valid XMP \(.*\); repair or remove it$"):
        describe_packet(broken, "a cat", "a.xmp")


@given(st.text())
def test_any_text_becomes_one_line_that_comes_back(text: str) -> None:
    new = describe_packet(new_packet("a dog"), text, "a.xmp")
    found = descriptions(new)["x-default"]
    assert len(found) == len(text)
    assert not set(found) & set("\n\r\t\u202e")
