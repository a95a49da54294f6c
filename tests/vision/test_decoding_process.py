"""Images that are heavy or of rare formats are decoded in a process with limits, with the same pixels."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordgaze.core.errors import ImageError, ResourceError
from wordgaze.vision import decoding_process, images
from wordgaze.vision.decoding_cost import LIGHT_PIXELS, count_scans, is_light_header
from wordgaze.vision.decoding_process import decode_reduced, decode_safely
from wordgaze.vision.images import HeavyImageError, load_image, load_reduced

LARGE = (5000, 4000)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_scans(count: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    whole = encoded(Image.new("RGB", size, "red"), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(0).integers(0, 255, (40, 50, len(mode)), np.uint8)
    return Image.fromarray(small, mode if len(mode) > 3 else None).resize(size)


def large_image() -> Image.Image:
    return Image.linear_gradient("L").resize(LARGE, Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def large_png() -> bytes:
    return encoded(large_image(), "PNG", compress_level=1)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "AVIF"])
def test_a_rare_format_is_decoded_in_a_process_with_the_same_pixels(tmp_path: Path, kind: str) -> None:
    data = encoded(noise((60, 40)), kind)
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(HeavyImageError):
        load_reduced(data, None, "a", only_light=True)
    assert decode_safely(data).tobytes() == load_image(data).tobytes() == decode_safely(tmp_path / "a").tobytes()


def test_a_large_image_is_reduced_to_a_half(large_png: bytes) -> None:
    found = decode_reduced(large_png, None, "a.png")
    assert found.picture.size == (2500, 2000)
    assert found.size == LARGE
    assert found.picture.tobytes() == large_image().convert("RGB").reduce(2).tobytes()


def test_a_large_jpeg_is_decoded_at_a_half_and_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", LARGE, "blue"), "JPEG", exif=exif.tobytes())
    found = decode_reduced(data, None, "a.jpg")
    assert (found.picture.size, found.size) == ((2000, 2500), (4000, 5000))


def test_transparency_of_a_large_image_is_on_white() -> None:
    data = encoded(Image.new("LA", LARGE, (9, 0)), "PNG", compress_level=1)
    assert decode_safely(data).getpixel((7, 7)) == (255, 255, 255)


def test_a_jpeg_of_many_scans_is_refused_by_its_header() -> None:
    data = jpeg_of_scans(1500, (1000, 1000))
    start = time.process_time()
    with pytest.raises(ImageError, match=r"the picture: is a JPEG of 15.. scans, which takes too long"):
        decode_safely(data)
    assert time.process_time() - start < 0.5


def test_scans_are_not_counted_in_what_follows_the_image() -> None:
    image = encoded(Image.new("RGB", (50, 50), "red"), "JPEG")
    assert count_scans(io.BytesIO(image + b"\xff\xda" * 100)) == 1
    assert count_scans(io.BytesIO(jpeg_of_scans(40, (50, 50)))) >= 40
    assert count_scans(io.BytesIO(b"no JPEG")) == 1


@pytest.mark.parametrize("lossless", [True, False])
def test_the_size_of_a_webp_is_known_before_it_is_opened(lossless: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise((70, 30)), "WEBP", lossless=lossless)
    animated = encoded(noise((70, 30)), "WEBP", save_all=True, append_images=[noise((70, 30)).rotate(9)])
    for each in (data, animated):
        monkeypatch.setattr("wordgaze.vision.decoding_cost.LIGHT_PIXELS", 2100)
        assert is_light_header(io.BytesIO(each))
        monkeypatch.setattr("wordgaze.vision.decoding_cost.LIGHT_PIXELS", 2099)
        assert not is_light_header(io.BytesIO(each))


def test_an_image_that_takes_too_long_is_named(large_png: bytes) -> None:
    with pytest.raises(ImageError, match=r"the picture: takes more than 0\.001 seconds to decode"):
        decode_safely(large_png, max_seconds=0.001)
    assert decode_safely(large_png).size == (2500, 2000)  # by another process


def test_an_image_that_needs_too_much_memory_is_named(large_png: bytes) -> None:
    with pytest.raises(ImageError, match="the picture: needs more than 16 MB to decode; make it smaller"):
        decode_safely(large_png, max_bytes=2**24)


def test_a_process_that_the_system_ends_does_not_make_an_image_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.tif")  # reading it waits
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    pool = decoding_process._DecodingProcesses()
    process = pool._take()
    assert process is not None
    process._process.send_signal(signal.SIGSTOP)  # so that it is ended while it is asked
    pool._idle.append(process)
    threading.Timer(0.3, process._process.kill).start()
    with pytest.raises(ResourceError, match=r"a\.tif: the process that decodes it was ended from outside"):
        pool.ask(tmp_path / "a.tif", {"side": None, "name": "a.tif", "seconds": 9, "bytes": 2**30})
    pool.end()


def test_missing_memory_is_not_a_broken_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_decoded", decoded)
    with pytest.raises(ResourceError, match="the picture: there is not enough memory to decode it"):
        decode_safely(encoded(noise((60, 40)), "PNG"))


def test_errors_of_the_process_name_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.tif").write_bytes(encoded(noise((60, 40)), "TIFF")[:3000])
    with pytest.raises(ImageError, match=r"^a\.tif: is broken"):
        decode_safely(Path("a.tif"))


def test_without_processes_images_are_decoded_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    pool = decoding_process._DecodingProcesses()
    monkeypatch.setattr(decoding_process, "_processes", lambda: pool)
    monkeypatch.setattr(decoding_process.subprocess, "Popen", refuse)
    data = encoded(noise((60, 40)), "TIFF")
    assert decode_safely(data).tobytes() == decode_safely(data).tobytes() == load_image(data).tobytes()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "large images are decoded without limits: no process can be started "
        "([Errno 11] Resource temporarily unavailable)"
    ]


def test_the_limit_of_a_light_image_is_that_of_full_size() -> None:
    assert LIGHT_PIXELS == 16_000_000
    data = encoded(Image.new("1", (4000, 4000)), "PNG")
    assert load_reduced(data, None, "a", only_light=True).picture.size == (4000, 4000)
