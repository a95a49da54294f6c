import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.errors import DataError, DownloadError, ImageError
from wordgaze.inference.uploads import MAX_BYTES, Limits, open_upload, pictures_of_zip, shown_name

SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that tells its size and holds a few zeros for pixels."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99))))
    framed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


RED = Image.new("RGB", (6, 4), "red")
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (encoded(RED), (6, 4)),
        (encoded(RED, "JPEG", exif=TURNED), (4, 6)),
        (encoded(RED.convert("CMYK"), "JPEG"), (6, 4)),
        (encoded(RED.convert("RGBA"), "WEBP"), (6, 4)),
        (encoded(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (6, 4), "blue")]), (6, 4)),
        (encoded(RED.resize((1, 1))), (1, 1)),
        (encoded(RED.resize((10_000, 3))), (10_000, 3)),
    ],
    ids=["plain", "turned", "cmyk", "transparent", "animated", "1x1", "10000x3"],
)
def test_odd_pictures_are_taken(data: bytes, size: tuple[int, int]) -> None:
    image = open_upload(data, "odd")
    assert (image.mode, image.size) == ("RGB", size)
    red, green, blue = image.getpixel((0, 0))
    assert red > 240 > 20 > max(green, blue)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello", "is not a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, HEIC or JPEG XL image"),
        (b"%PDF-1.7 <svg", "is not a JPEG, PNG"),
        (SVG, "is an SVG, which is a drawing and not a photograph; save it as PNG"),
        (b"\xef\xbb\xbf\n" + SVG, "is an SVG"),
        (png_header(10_000, 10_000), "has more than 64000000 pixels"),
        (png_header(60_000, 60_000), "has more than 64000000 pixels"),
        (encoded(Image.effect_noise((64, 64), 90))[:999], "is broken"),
    ],
    ids=["nothing", "text", "pdf", "svg", "svg-with-mark", "100-megapixels", "bomb", "cut"],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_what_is_no_picture_is_one_sentence_with_the_persons_name_for_it(
    tmp_path: Path, data: bytes, message: str, as_file: bool
) -> None:
    path = tmp_path / "cache-4711"
    path.write_bytes(data)
    with pytest.raises(ImageError) as error:
        open_upload(path if as_file else data, "holiday.jpg")
    assert str(error.value).startswith(f"holiday.jpg: {message}")
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_what_is_too_long_or_no_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"^long.jpg: has 67108865 bytes, more than the 67108864 allowed"):
        open_upload(path, "long.jpg")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(ImageError, match="is not a file"):
        open_upload(tmp_path, "folder")
    with pytest.raises(ImageError, match="cannot be read"):
        open_upload(tmp_path / "gone", "gone.jpg")


def test_names_are_shown_without_folders_signs_and_length() -> None:
    assert shown_name("trip/a.jpg") == "trip/a.jpg"
    assert shown_name("C:\\Users\\me\\a.jpg") == shown_name("/home/me/a.jpg") == shown_name("../../a.jpg") == "a.jpg"
    assert shown_name("a\n\x1b[31m\udcff.jpg") == "a��[31m�.jpg"
    assert len(shown_name("x" * 5000 + ".jpg")) == 121
    assert shown_name("") == "the picture"


Zip = Callable[..., Path]


@pytest.fixture
def zipped(tmp_path: Path) -> Zip:
    def make(*entries: tuple[str | zipfile.ZipInfo, bytes], pack: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / "upload.zip"
        with zipfile.ZipFile(path, "w", pack) as file, warnings.catch_warnings(action="ignore"):
            for name, data in entries:
                file.writestr(name, data)
        return path

    return make


def test_the_pictures_of_a_zip_come_one_after_the_other_and_the_rest_is_listed(zipped: Zip) -> None:
    path = zipped(("b.jpg", b"1"), ("trip/a.PNG", b"22"), ("notes.txt", b""), ("__MACOSX/._b.jpg", b""), ("trip/", b""))
    found = pictures_of_zip(path, "trip.zip")
    assert found.total == 2
    assert [(picture.name, picture.read()) for picture in found.each] == [("b.jpg", b"1"), ("trip/a.PNG", b"22")]
    assert [name for name, _ in found.skipped] == ["notes.txt", "__MACOSX/._b.jpg"]
    assert {reason for _, reason in found.skipped} == {
        "does not have the name of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, HEIC or JPEG XL image"
    }


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../a.jpg", b"")], "leads out of the folder"),
        ([("x/..\\..\\a.jpg", b"")], "leads out of the folder"),
        ([("/etc/a.jpg", b"")], "leads out of the folder"),
        ([("C:\\a.jpg", b"")], "leads out of the folder"),
        ([(link("a.jpg"), b"/etc/passwd")], "it is a link"),
        ([("a.jpg", b""), ("inner.ZIP", b"")], "holds another archive ('inner.ZIP')"),
        ([("a.jpg", b""), ("a.jpg", b"")], "its name is repeated"),
        ([("a.jpg", bytes(101))], "it has 101 bytes, more than the 100 allowed"),
        ([(f"{n}.jpg", b"") for n in range(5)], "holds more than the 4 files allowed"),
        ([(f"{n}.jpg", bytes(100)) for n in range(4)], "has 400 bytes unpacked, more than the 350 allowed"),
    ],
)
def test_a_zip_that_is_not_safe_is_refused_whole(
    zipped: Zip, entries: list[tuple[str | zipfile.ZipInfo, bytes]], message: str
) -> None:
    path = zipped(*entries)
    with pytest.raises(DownloadError) as error:
        pictures_of_zip(path, "trip.zip", Limits(entries=4, entry=100, total=350))
    assert message in str(error.value)
    assert str(error.value).startswith("trip.zip")
    assert str(path) not in str(error.value)


def test_encrypted_and_broken_zips_are_refused(zipped: Zip, tmp_path: Path) -> None:
    path = zipped(("a.jpg", b"1234"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DownloadError, match=r"trip.zip: 'a.jpg' is not unpacked: it is encrypted"):
        pictures_of_zip(path, "trip.zip")
    for broken in (b"", b"hello", bytes(data[:30])):
        path.write_bytes(broken)
        with pytest.raises(DownloadError, match=r"trip.zip is not a zip"):
            pictures_of_zip(path, "trip.zip")


def declare(path: Path, size: int) -> None:
    """Has the zip's directory tell of ``size`` unpacked bytes in every entry."""
    data, at = bytearray(path.read_bytes()), -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("entries", "size", "message"),
    [
        (3, 2**32 - 2, "'0.bmp' is not unpacked: it has 4294967294 bytes, more than the 67108864 allowed"),
        (160, 2**26, "has 10737418240 bytes unpacked, more than the 4294967296 allowed"),
        (2, 2**26, "more than 100 times its own"),
    ],
)
def test_gigabytes_of_zeros_are_refused_before_they_are_unpacked(
    zipped: Zip, entries: int, size: int, message: str
) -> None:
    path = zipped(*((f"{n}.bmp", b"") for n in range(entries)))
    declare(path, size)
    tracemalloc.start()
    with pytest.raises(DownloadError) as error:
        pictures_of_zip(path, "zeros.zip")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert message in str(error.value)


def test_an_entry_that_lies_about_its_size_gives_no_more_than_it_reported(zipped: Zip) -> None:
    path = zipped(("a.bmp", bytes(2**20)), ("b.bmp", b"good"), pack=zipfile.ZIP_DEFLATED)
    declare(path, 4)
    each = pictures_of_zip(path, "trip.zip").each
    with pytest.raises(DataError, match=r"^trip.zip: 'a.bmp' is broken"):
        next(each).read()
    assert next(each).read() == b"good"
    assert list(path.parent.iterdir()) == [path]
