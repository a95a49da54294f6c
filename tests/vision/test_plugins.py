"""HEIC and JPEG XL are read with their plug-ins, within the limit of pixels, and named where a plug-in is missing."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.errors import ImageError
from wordgaze.vision import images
from wordgaze.vision.images import load_image
from wordgaze.vision.plugins import jxl_size, plugin_format

HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


def halves() -> Image.Image:
    """64 pixels wide, 32 high: the left half red, the right half blue."""
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (32, 0, 64, 32))
    return image


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or halves()).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def heif() -> None:
    pytest.importorskip("pillow_heif", reason="the extra formats is not installed").register_heif_opener()


@pytest.fixture
def jxl() -> None:
    pytest.importorskip("pillow_jxl", reason="the extra formats is not installed")


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4) + kind + content


@pytest.mark.usefixtures("heif", "jxl")
@pytest.mark.parametrize("kind", ["HEIF", "JXL"])
def test_a_plugin_format_gives_the_picture(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.picture"  # the content decides, not the name
    path.write_bytes(encoded(kind))
    image = load_image(path)
    assert (image.mode, image.size) == ("RGB", (64, 32))
    red, blue = image.getpixel((4, 16)), image.getpixel((60, 16))
    assert isinstance(red, tuple) and isinstance(blue, tuple)
    assert red[0] > 200 > 80 > red[2] and blue[2] > 200 > 80 > blue[0]


@pytest.mark.usefixtures("heif")
def test_a_turned_heic_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(encoded("HEIF", exif=exif.tobytes())).size == (32, 64)


def test_a_missing_plugin_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, data, label in (("a.heic", HEIC_HEAD, "a HEIC"), ("a.jxl", JXL_CONTAINER + bytes(40), "a JPEG XL")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError) as error:
            load_image(tmp_path / name)
        assert str(error.value) == f'{tmp_path / name}: is {label} image; pip install "wordgaze[formats]" to read it'


@pytest.mark.usefixtures("jxl")
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (513, 77), (1, 300), (4000, 1), (120, 100), (160, 90), (264, 256)])
@pytest.mark.parametrize("use_container", [False, True])
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(size: tuple[int, int], use_container: bool) -> None:
    data = encoded("JXL", Image.new("RGB", size, "red"), use_container=use_container)
    assert jxl_size(io.BytesIO(data)) == size


@pytest.mark.usefixtures("jxl")
def test_too_many_pixels_are_refused_before_the_plugin_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("JXL")
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 32 - 1)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="has more than 2047 pixels"):
        load_image(data)


@pytest.mark.usefixtures("heif")
def test_too_many_pixels_of_a_heic_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("HEIF")
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 32 - 1)
    with pytest.raises(ImageError, match="has more than 2047 pixels"):
        load_image(data)


@pytest.mark.usefixtures("heif", "jxl")
@pytest.mark.parametrize("kind", ["HEIF", "JXL"])
@pytest.mark.parametrize("length", [20, 60, 200])
def test_a_cut_off_picture_is_an_image_error(kind: str, length: int) -> None:
    with pytest.raises(ImageError):
        load_image(encoded(kind)[:length])


def test_boxes_without_an_image_are_broken() -> None:
    for rest in (b"", box(b"ftyp", b"jxl "), box(b"jxlc", b"\xff\x0a"), b"\0\0\0\0abcd", b"\0\0\0\x01abcd"):
        with pytest.raises(ValueError, match="no image header"):
            jxl_size(io.BytesIO(JXL_CONTAINER + rest))


@pytest.mark.parametrize("use_part", [False, True])
def test_the_codestream_is_found_behind_other_boxes(use_part: bool) -> None:
    small = b"\xff\x0a\x47" + bytes(12)  # 8 * (1 + 3) high; ratio 1 : 1
    rest = box(b"jxlp", bytes(4) + small) if use_part else box(b"jxlc", small)
    large = b"\0\0\0\x01Exif" + (16 + 9).to_bytes(8) + b"123456789"
    assert jxl_size(io.BytesIO(JXL_CONTAINER + box(b"ftyp", b"jxl ") + large + rest)) == (32, 32)


def test_avif_needs_no_plugin() -> None:
    assert plugin_format(io.BytesIO(encoded("AVIF"))) is None
    assert plugin_format(io.BytesIO(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(8))) is None
    assert plugin_format(io.BytesIO(HEIC_HEAD)) == "HEIF"
    assert plugin_format(io.BytesIO(b"")) is None
