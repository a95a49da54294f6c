"""A description is embedded in a JPEG or PNG; other readers find it, and pixels and other metadata stay as they are."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.inference.metadata import read_metadata
from wordgaze.core.errors import ImageError
from wordgaze.inference.embed import can_embed, embed_description
from wordgaze.inference.iim import IIM_HEADER, iim_caption, with_iim_caption
from wordgaze.inference.xmp import new_packet


def picture(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, kind, **options)
    return file.getvalue()


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    return exif.tobytes()


def embedded(data: bytes, text: str = "a dog", overwrite: bool = False) -> bytes:
    described = embed_description(data, text, "a.jpg", overwrite)
    assert described is not None
    return described


def compressed_pixels(data: bytes) -> bytes:
    return data[data.index(b"\xff\xdb") :] if data.startswith(b"\xff\xd8") else data[data.index(b"IDAT") :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "MPO"])
@pytest.mark.parametrize("text", ["a dog & <a cat>", "ein Bär, 犬"])
def test_other_readers_find_the_description_and_the_pixels_are_the_same_bytes(kind: str, text: str) -> None:
    data = picture(kind, exif=with_exif())
    described = embedded(data, text)
    assert read_metadata(described) == (text, None if kind == "PNG" else text)
    assert compressed_pixels(described) == compressed_pixels(data)
    with Image.open(io.BytesIO(described)) as image, Image.open(io.BytesIO(data)) as before:
        assert image.tobytes() == before.tobytes()
        assert (image.getexif()[0x010F], image.getexif()[0x0112]) == ("a camera", 6)
    assert kind == "PNG" or described.index(b"Exif\0\0") < described.index(b"W5M0MpCehiHzreSzNTczkc9d")


def test_a_second_picture_in_the_file_is_still_found() -> None:
    second = Image.new("RGB", (20, 20), "red")
    described = embedded(picture("MPO", save_all=True, append_images=[second]))
    with Image.open(io.BytesIO(described)) as image:
        image.seek(1)
        image.load()
        assert image.size == (20, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_description_is_replaced_only_when_asked(kind: str) -> None:
    described = embedded(picture(kind))
    assert embed_description(described, "a cat", "a", overwrite=False) is None
    assert read_metadata(embedded(described, "a cat", overwrite=True))[0] == "a cat"
    assert len(embedded(described, "a cat", overwrite=True)) == len(described)


def test_other_xmp_and_iptc_is_kept() -> None:
    keyword = struct.pack(">BBBH", 0x1C, 2, 25, 3) + b"zoo"
    late = struct.pack(">BBBH", 0x1C, 7, 1, 2) + b"ab"
    resources = (
        b"8BIM\x04\x0f\x00\x00\x00\x00\x00\x03abc\x00" + b"8BIM\x04\x04\x03abc\x00\x00\x00\x0f" + keyword + late + b"\0"
    )
    payload = with_iim_caption(IIM_HEADER + resources, "a Bär 犬")
    assert iim_caption(payload) == "a Bär ?".encode("latin-1")  # it does not declare UTF-8
    assert resources[:16] in payload and keyword in payload and payload.index(late) > payload.index(b"B\xe4r")
    assert iim_caption(with_iim_caption(payload, "a cat")) == b"a cat"
    segment = b"\xff\xed" + struct.pack(">H", len(IIM_HEADER + resources) + 2) + IIM_HEADER + resources
    data = picture("JPEG")
    described = embedded(data[:2] + segment + data[2:])
    assert read_metadata(described) == ("a dog", "a dog")
    assert described.count(IIM_HEADER) == 1


def test_a_caption_in_the_iptc_alone_is_kept_too() -> None:
    payload = with_iim_caption(b"", "by hand")
    data = picture("JPEG")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload + data[2:]
    assert embed_description(data, "a dog", "a", overwrite=False) is None
    assert read_metadata(embedded(data, overwrite=True)) == ("a dog", "a dog")


def test_the_iptc_caption_is_cut_between_characters() -> None:
    assert iim_caption(with_iim_caption(b"", "a" + "ä" * 1500)).decode() == "a" + "ä" * 999


def test_compressed_xmp_of_a_png_is_updated() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", new_packet("by hand").decode(), zip=True)
    data = picture("PNG", pnginfo=info)
    assert embed_description(data, "a dog", "a", overwrite=False) is None
    assert read_metadata(embedded(data, overwrite=True))[0] == "a dog"


def chunk(kind: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(4) + kind + payload + zlib.crc32(kind + payload).to_bytes(4)


@pytest.mark.parametrize(
    "broken",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1\x00\x01",
        b"\xff\xd8\xff\xe1\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\x09IDAT",
        b"\x89PNG\r\n\x1a\n" + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0"),
        b"\x89PNG\r\n\x1a\n" + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**25))),
        b"\xff\xd8\xff\xed\x00\x12Photoshop 3.0\0ab\xff\xda\x00\x02",
        b"\xff\xd8\xff\xed\x00\x1cPhotoshop 3.0\x008BIM\4\4\0\0\0\0\0\xff\xff\xda\x00\x02",
    ],
)  # fmt: skip
def test_broken_metadata_is_refused_by_name(broken: bytes) -> None:
    with pytest.raises(ImageError, match=r"^a.jpg: its metadata is broken \(.*\); use --sidecar xmp for it$"):
        embed_description(broken, "a dog", "a.jpg", overwrite=False)


def test_a_text_that_no_segment_holds_is_refused() -> None:
    with pytest.raises(ImageError, match="too many for one segment"):
        embed_description(picture("JPEG"), "a" * 70_000, "a.jpg", overwrite=False)


@given(st.data(), st.sampled_from([embedded(picture("JPEG")), embedded(picture("PNG"))]))
def test_damaged_pictures_give_a_picture_or_one_line(data: st.DataObject, whole: bytes) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(12, 2000))])
    for _ in range(data.draw(st.integers(0, 5))):
        damaged[data.draw(st.integers(8, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert can_embed(damaged)
    try:
        embed_description(bytes(damaged), "a dog", "a.jpg", data.draw(st.booleans()))
    except ImageError as error:
        assert "\n" not in str(error)
