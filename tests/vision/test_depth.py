"""More than 8 bits per channel are shown as they are meant, or refused by name in one line."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from wordgaze.core.errors import ImageError
from wordgaze.vision.formats import UnreadFormatError
from wordgaze.vision.images import load_image


def tiff(values: np.ndarray, **tags: int) -> bytes:  # type: ignore[type-arg]
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[{"max_sample_value": 281, "photometric": 262}[name]] = value
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=info)
    return buffer.getvalue()


def png(values: np.ndarray, significant: int = 0) -> bytes:  # type: ignore[type-arg]
    """A PNG of 16 bits: grey (height, width) or colours (height, width, 3)."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
    if significant:
        chunks.insert(1, b"sBIT" + bytes([significant] * (3 if values.ndim == 3 else 1)))
    whole = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def shown(data: bytes) -> list[int]:
    return np.asarray(load_image(data))[0, :, 0].tolist()  # type: ignore[no-any-return]


def row(*values: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([values], dtype=np.uint16)


@pytest.mark.parametrize(
    ("bits", "values"), [(8, (0, 128, 255)), (10, (0, 512, 1023)), (12, (0, 2048, 4095)), (14, (0, 8192, 16383)), (16, (0, 32768, 65535))]
)  # fmt: skip
def test_the_depth_is_the_smallest_that_holds_all_values(bits: int, values: tuple[int, ...]) -> None:
    assert shown(tiff(row(*values))) == shown(png(row(*values))) == [0, 128, 255]


def test_a_declared_depth_is_believed_where_no_value_exceeds_it() -> None:
    assert shown(png(row(0, 500, 1000), significant=12)) == [0, 31, 62]
    assert shown(tiff(row(0, 500, 1000), max_sample_value=4095)) == [0, 31, 62]
    assert shown(png(row(0, 32768, 65535), significant=12)) == [0, 128, 255]  # scaled, as the standard asks
    assert shown(tiff(row(0, 32768, 65535), max_sample_value=4095)) == [0, 128, 255]


def test_white_may_be_zero() -> None:
    assert shown(tiff(row(0, 2048, 4095), photometric=0)) == [255, 127, 0]


def test_grey_of_32_bits_is_shown_where_white_is_known_and_else_refused() -> None:
    assert shown(tiff(np.array([[0, 0.5, 1]], dtype=np.float32))) == [0, 128, 255]
    assert shown(tiff(np.array([[0, 2048, 4095]], dtype=np.int32))) == [0, 128, 255]
    for values, named in (
        (np.array([[-1000, 3000]], dtype=np.int32), "from -1000 to 3000"),
        (np.array([[0.0, 300.0]], dtype=np.float32), "from 0 to 300"),
        (np.array([[0, 70000]], dtype=np.int32), "from 0 to 70000"),
        (np.array([[0, np.nan]], dtype=np.float32), "nan"),
    ):
        with pytest.raises(UnreadFormatError, match=named) as caught:
            load_image(tiff(values))
        assert "save it with 8 or 16 bits" in str(caught.value)
        assert str(caught.value).startswith("the picture: ")


def test_colours_of_16_bits_are_read_and_those_of_12_in_16_refused(tmp_path: Path) -> None:
    colours = np.array([[[65535, 0, 0], [0, 32768, 65535]]], dtype=np.uint16)
    image = load_image(png(colours))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (0, 128, 255)]
    (tmp_path / "scan.png").write_bytes(png(colours // 16, significant=12))
    with pytest.raises(
        UnreadFormatError, match=r"scan\.png: has colours of 12 bits or less in 16 bits; save it with 8"
    ):
        load_image(tmp_path / "scan.png")
    assert load_image(png(np.zeros((2, 2, 3), dtype=np.uint16))).getpixel((0, 0)) == (0, 0, 0)


def test_lab_palettes_and_single_bits_are_shown_as_they_are_meant() -> None:
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (138, 209, 195)])  # L 54, a 81, b 67: red
    buffer = io.BytesIO()
    lab.save(buffer, "TIFF")
    red, green, blue = load_image(buffer.getvalue()).getpixel((1, 1))  # type: ignore[misc]
    assert red > 240 > 60 > max(green, blue)
    one = io.BytesIO()
    Image.fromarray(np.array([[False, True]])).save(one, "PNG")
    assert shown(one.getvalue()) == [0, 255]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=9), st.integers(0, 16))
def test_brightness_keeps_its_order_and_the_largest_value_is_never_dark(values: list[int], bits: int) -> None:
    grey = shown(png(row(*values), significant=bits))
    assert [grey[i] for i in np.argsort(values, kind="stable")] == sorted(grey)
    assert max(values) < 64 or bits > 8 or max(grey) >= 63


@given(st.binary(max_size=60), st.integers(0, 5))
def test_broken_chunks_are_one_line(data: bytes, cut: int) -> None:
    whole = png(row(1, 2, 3), significant=12)
    try:
        load_image(whole[: 33 - cut] + data)
    except ImageError as error:
        assert "\n" not in str(error)
