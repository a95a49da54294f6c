"""One pass over image files: facts of those that can be decoded, reasons for the others, and no exception."""

import hashlib
import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.inspection.folders import jpeg, photograph
from wordgaze.core.errors import ImageError
from wordgaze.data.datasets.source import Found
from wordgaze.inspection.pictures import BrokenPicture, InspectedPicture, inspect_pictures, read_pictures
from wordgaze.vision.images import load_image, load_reduced

PHOTO = jpeg(photograph(7, (800, 640)))


def loose(folder: Path, **files: bytes) -> dict[str, Found]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: Found(folder, PurePosixPath(name)) for name in files}


def test_size_format_and_checksum_are_those_of_the_file_although_less_is_decoded(tmp_path: Path) -> None:
    found = inspect_pictures(loose(tmp_path, photo=PHOTO))["photo"]
    assert isinstance(found, InspectedPicture)
    assert (found.format, found.width, found.height, found.num_bytes) == ("JPEG", 800, 640, len(PHOTO))
    assert found.checksum == hashlib.sha256(PHOTO).digest()


def test_a_jpeg_is_decoded_at_a_fraction_and_turned_as_its_camera_says() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(1, (800, 400)).save(buffer, "JPEG", exif=exif)
    reduced = load_reduced(buffer.getvalue(), 64, "x")
    assert (reduced.size, reduced.picture.size) == ((400, 800), (50, 100)) or reduced.picture.size == (100, 200)
    assert reduced.size == load_image(buffer.getvalue()).size


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "bmp", "tiff"])
def test_other_formats_are_decoded_whole(suffix: str) -> None:
    buffer = io.BytesIO()
    photograph(2, (90, 50)).save(buffer, suffix)
    reduced = load_reduced(buffer.getvalue(), 16, "x")
    assert reduced.size == reduced.picture.size == (90, 50)
    assert reduced.format == suffix.upper()


@settings(max_examples=60)
@given(end=st.integers(0, len(PHOTO)), at=st.integers(0, len(PHOTO) - 1), value=st.integers(0, 255))
def test_a_reduced_jpeg_is_refused_exactly_where_the_whole_one_is(end: int, at: int, value: int) -> None:
    broken = bytearray(PHOTO)
    broken[at] = value
    assert verdict(load_image, bytes(broken[:end])) == verdict(
        lambda data: load_reduced(data, 64, "the picture"), bytes(broken[:end])
    )


def verdict(load: object, data: bytes) -> str:
    try:
        load(data)  # type: ignore[operator]
    except ImageError as error:
        return str(error)
    return ""


def test_whatever_the_bytes_are_nothing_stops(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    files = loose(
        tmp_path, good=PHOTO, cut=PHOTO[:500], empty=b"", text=b"not a picture", huge=bomb.getvalue(), zeros=bytes(9000)
    )
    files["gone"] = Found(tmp_path, PurePosixPath("gone"))
    found = inspect_pictures(files)
    assert [name for name, each in found.items() if isinstance(each, InspectedPicture)] == ["good"]
    broken = {name: each.reason for name, each in found.items() if isinstance(each, BrokenPicture)}
    assert broken["huge"].startswith("huge: has more than 64000000 pixels")
    assert broken["empty"].startswith("empty: is empty")
    assert broken["cut"].startswith("cut: is broken (")
    assert broken.keys() == {"cut", "empty", "text", "huge", "zeros", "gone"}
    assert not any(str(tmp_path) in reason for name, reason in broken.items() if name != "gone")


def test_images_in_an_archive_are_read_from_it_and_a_broken_member_is_told(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photos/a.jpg", PHOTO)
        archive.writestr("photos/b.jpg", jpeg(photograph(3)))
    data = path.read_bytes()
    path.write_bytes(data.replace(PHOTO[300:310], b"0123456789", 1))
    files = {name: Found(path, PurePosixPath(f"photos/{name}"), packed=True) for name in ("a.jpg", "b.jpg")}
    found = inspect_pictures(files)
    assert isinstance(found["b.jpg"], InspectedPicture)
    assert isinstance(found["a.jpg"], BrokenPicture)
    assert found["a.jpg"].is_packed_broken
    assert "photos/a.jpg" in found["a.jpg"].reason
    assert [name for name, _ in read_pictures(files)] == ["b.jpg"]


def test_images_in_several_archives_are_read_under_their_names_there(tmp_path: Path) -> None:
    files = {}
    for part in ("train-0", "train-1"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            archive.writestr("a.jpg", PHOTO)
        path = PurePosixPath(f"{part}/a.jpg")
        files[part] = Found(tmp_path / f"{part}.zip", path, packed=True, member="a.jpg")
    assert inspect_pictures(files).keys() == files.keys()


def test_an_image_without_contrast_has_no_hash(tmp_path: Path) -> None:
    found = inspect_pictures(loose(tmp_path, blank=jpeg(Image.new("RGB", (80, 80), "grey")), photo=PHOTO))
    hashes = {name: each.phash for name, each in found.items() if isinstance(each, InspectedPicture)}
    assert hashes["blank"] is None
    assert hashes["photo"] is not None


def test_the_colours_are_those_of_the_whole_image(tmp_path: Path) -> None:
    half = Image.new("RGB", (400, 400), "black")
    half.paste((255, 0, 0), (0, 0, 200, 400))
    found = inspect_pictures(loose(tmp_path, half=jpeg(half)))["half"]
    assert isinstance(found, InspectedPicture)
    colours = np.frombuffer(found.colours, np.uint8).reshape(8, 8, 3)
    assert colours[:, :3, 0].min() > 240
    assert colours[:, 5:].max() < 15
