"""load_image gives an upright, flat, 8-bit RGB picture or an ImageError of one line."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from wordgaze.core.errors import ImageError
from wordgaze.vision import images
from wordgaze.vision.formats import UnreadFormatError
from wordgaze.vision.images import load_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """16 pixels wide, 8 high: the left half red, the right half blue."""
    image = Image.new("RGB", (16, 8), "red")
    image.paste("blue", (8, 0, 16, 8))
    return image.convert(mode)


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG file whose header tells of a picture of this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rest = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, rest, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def near(pixel: object, wanted: tuple[int, int, int]) -> bool:
    return isinstance(pixel, tuple) and max(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 40


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_every_format_gives_the_same_picture(kind: str) -> None:
    image = load_image(encoded(halves(), kind))
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert near(image.getpixel((2, 4)), (255, 0, 0))
    assert near(image.getpixel((13, 4)), (0, 0, 255))


def test_a_path_bytes_and_a_stream_give_the_same(tmp_path: Path) -> None:
    data = encoded(halves(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert load_image(path) == load_image(data) == load_image(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied_once(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90° clockwise: left becomes top
    image = load_image(encoded(halves(), kind, exif=exif))
    assert image.size == (8, 16)
    assert near(image.getpixel((4, 2)), (255, 0, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(halves(), "PNG", exif=exif)
    assert load_image(data).tobytes() == ImageOps.exif_transpose(Image.open(io.BytesIO(data))).tobytes()


def test_a_broken_exif_field_loses_neither_the_picture_nor_its_rotation() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    broken = exif.tobytes().replace(b"\x01\x0e\x00\x02", b"\x01\x56\x00\x02")  # text in a field of numbers
    assert load_image(encoded(halves(), "JPEG", exif=broken)).size == (8, 16)


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "PNG" if mode == "P" else "JPEG"
    image = load_image(encoded(halves(mode), kind))
    assert image.mode == "RGB"
    if mode != "L":
        assert near(image.getpixel((2, 4)), (255, 0, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    grey = np.array([[0, 200, 257, 32896, 65535]], dtype=np.uint16)
    image = load_image(encoded(Image.fromarray(grey), kind))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 1, 128, 255]


def test_a_wrong_extension_is_read(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "PNG"), ("b.png", "WEBP"), ("c.svg", "JPEG"), ("d", "JPEG2000")):
        (tmp_path / name).write_bytes(encoded(halves(), kind))
        assert near(load_image(tmp_path / name).getpixel((2, 4)), (255, 0, 0))


def test_case_folder_of_unread_formats_says_by_name_what_is_not_read(tmp_path: Path) -> None:
    tiff = encoded(halves(), "TIFF")  # the thumbnail that a camera stores
    unread = {"a.svg": b"<svg/>", "a.PSD": b"8BPS" * 9, "a.dng": tiff, "a.NEF": tiff, "a.dcm": b"\0" * 132 + b"DICM"}
    for name, data in unread.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(
            UnreadFormatError, match=r"is of a format that is not read \(\.\w+\); save it as JPEG or PNG"
        ):
            load_image(path)


def test_jpeg_2000_and_its_streams_are_read(tmp_path: Path) -> None:
    for name in ("a.jp2", "a.j2k"):
        halves().save(tmp_path / name)
        assert near(load_image(tmp_path / name).getpixel((13, 4)), (0, 0, 255))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    flat = load_image(encoded(image.convert(mode), "PNG"))
    assert [flat.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_a_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    for transparency in (0, b"\0\xff"):
        flat = load_image(encoded(image, "PNG", transparency=transparency))
        assert [flat.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image = load_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert near(image.getpixel((4, 4)), (255, 0, 0))


def test_one_pixel_is_a_picture() -> None:
    assert load_image(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).size == (1, 1)


def test_what_is_no_picture_is_refused_with_one_line(tmp_path: Path) -> None:
    jpeg = encoded(halves().resize((200, 200)), "JPEG")
    bad = {
        "empty.jpg": (b"", "0 bytes"),
        "text.jpg": (b"hello " * 50, "is not a JPEG"),
        "drawing.jpg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a JPEG"),
        "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "is not a JPEG"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "is broken"),
    }
    for name, (data, reason) in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ImageError, match=reason) as caught:
            load_image(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_an_endless_name_are_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.jpg", "no such file"), (tmp_path, "folder"), (tmp_path / ("x" * 999), "open")):
        with pytest.raises(ImageError, match=reason):
            load_image(path)


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"more than {images.MAX_PIXELS} pixels"):
        load_image(png_claiming(*size))


def test_the_largest_allowed_size_passes_the_header() -> None:
    with pytest.raises(ImageError, match="is broken"):  # its pixels are missing, its size is fine
        load_image(png_claiming(8000, 8000))


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    before = list(warnings.filters)
    data = [png_claiming(10_000, 10_000), encoded(halves(), "PNG")] * 50
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda item: size_or_none(item), data))
    assert sizes == [None, (16, 8)] * 50
    assert warnings.filters == before


def size_or_none(data: bytes) -> tuple[int, int] | None:
    try:
        return load_image(data).size
    except ImageError:
        return None


def only_rgb_or_image_error(data: bytes) -> None:
    try:
        image = load_image(data)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"])
)
def test_random_bytes_give_rgb_or_an_image_error(data: bytes, start: bytes) -> None:
    only_rgb_or_image_error(start + data)


WHOLE = [
    encoded(halves().resize((32, 32)), kind, **options)
    for kind, options in [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("JPEG2000", {}),
    ]
]


@given(st.sampled_from(WHOLE), st.data())
def test_a_cut_off_picture_gives_rgb_or_an_image_error(whole: bytes, data: st.DataObject) -> None:
    only_rgb_or_image_error(whole[: data.draw(st.integers(0, len(whole)))])


@given(st.sampled_from(WHOLE), st.data())
def test_a_damaged_picture_gives_rgb_or_an_image_error(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    only_rgb_or_image_error(bytes(damaged))
