"""Images are given as paths, bytes, PIL images or arrays, and are handled in bounded batches."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordgaze.core.errors import ImageError
from wordgaze.inference import inputs
from wordgaze.inference.inputs import batches, is_single, to_image

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded() -> bytes:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def test_every_form_of_an_image_is_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encoded())
    forms = (path, str(path), encoded(), Image.fromarray(PIXELS), PIXELS, PIXELS[:, ::-1][:, ::-1])
    for form in forms:
        assert is_single(form)
        image = to_image(form)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize("convert", [lambda image: image, np.asarray], ids=["PIL", "array"])
def test_grey_is_three_equal_channels(convert: Callable[[Image.Image], object]) -> None:
    grey = Image.linear_gradient("L")
    colour = np.asarray(to_image(convert(grey)))  # type: ignore[arg-type]
    assert np.array_equal(colour, np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_an_image_of_another_mode_is_converted_like_a_file() -> None:
    red = Image.new("RGBA", (3, 2), (255, 0, 0, 0))
    assert to_image(red).getpixel((0, 0)) == (255, 255, 255)  # transparent on white
    assert to_image(Image.new("CMYK", (3, 2))).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((2, 2), 65535, dtype=np.uint16))
    assert to_image(deep).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ImageError, match="mode HSV cannot be converted; convert it to RGB"):
        to_image(Image.new("HSV", (3, 2)))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS / 255, r"an array of shape \(5, 7, 3\) and type float64 is not an image; give uint8"),
        (PIXELS.transpose(2, 0, 1), r"shape \(3, 5, 7\)"),
        (PIXELS[:0], r"shape \(0, 7, 3\)"),
        (Path("gone.png"), "gone.png: there is no such file"),
        ("gone.png", "gone.png: there is no such file"),
        (b"text", "is no"),
        (None, "None is not an image"),
        (7, "7 is not an image; give a path, bytes, a PIL image or a uint8 array"),
    ],
)
def test_what_is_not_an_image_is_refused(image: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_image(image)  # type: ignore[arg-type]


def test_what_is_no_iterable_is_one_image() -> None:
    assert is_single(None)
    assert is_single(7)


def test_a_pil_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.effect_noise((90, 90), 99).convert("RGB").save(path)
    closed = Image.open(path)
    closed.close()
    truncated = Image.open(BytesIO(path.read_bytes()[:2000]))
    for image in (closed, truncated):
        with pytest.raises(ImageError, match="the image cannot be read"):
            to_image(image)


def test_several_images_are_not_one() -> None:
    assert not is_single([PIXELS])
    assert not is_single(np.stack([PIXELS, PIXELS]))
    assert not is_single(iter([PIXELS]))


def test_a_batch_is_bounded_in_images_and_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_PIXELS", 10)
    assert list(batches([1, 2, 3, 4, 5, 6, 20, 1], lambda pixels: pixels, 3)) == [[1, 2, 3], [4, 5, 6], [20], [1]]
    taken: list[int] = []

    def numbers() -> object:
        for n in range(5):
            taken.append(n)
            yield n

    first = next(batches(numbers(), lambda _: 1, 2))  # type: ignore[call-overload]
    assert (first, taken) == ([0, 1], [0, 1])
    assert list(batches([], lambda _: 1)) == []


def test_an_open_image_is_turned_upright_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.linear_gradient("L").resize((60, 40)).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        turned = to_image(opened)
    assert turned.size == (40, 60)
    assert np.array_equal(np.asarray(turned), np.asarray(to_image(tmp_path / "a.jpg")))
    assert to_image(to_image(tmp_path / "a.jpg")).size == (40, 60)
