"""The film says the words one after the other, lit where each looked; its colours can be read by colour-blind people."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from wordgaze.explain.colours import STRENGTH, colours, heat

from tests.disk import full_disk
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import attention_sheet
from wordgaze.inference.film import MARK, NARROWEST, film, save_gif, strip

WORDS = ("a", "dog", "runs", "over", "the", "grass")


def caption(words: tuple[str, ...] = WORDS, cells: int = 4) -> Caption:
    """Word number n looks at cell n alone."""
    weights = np.eye(cells, dtype=np.float32)[np.arange(len(words)) % cells]
    return Caption(words, -1.0, -1.0, (-0.5,) * len(words), weights, "end")


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def marked(frame: Image.Image) -> tuple[int, int] | None:
    """The left upper corner of the box around the present word."""
    rows, columns = (np.asarray(frame) == ImageColor.getrgb(MARK)).all(2).nonzero()
    return (int(columns.min()), int(rows.min())) if len(rows) else None


def test_a_film_has_a_frame_a_word_between_two_of_the_plain_picture() -> None:
    frames = film(photograph(), caption(), (2, 2))
    assert {(frame.mode, frame.size[0]) for frame in frames} == {("RGB", 640)}
    assert len({frame.size for frame in frames}) == 1
    photographs = [np.asarray(frame)[: round(640 * 60 / 90)] for frame in frames]
    assert len(frames) == len(WORDS) + 2
    assert np.array_equal(photographs[0], photographs[-1])
    lit = [int(p.sum()) < int(photographs[0].sum()) for p in photographs]
    assert lit == [False, *[True] * len(WORDS), False]


def test_each_frame_is_bright_where_its_word_looked() -> None:
    for n, frame in enumerate(film(Image.new("RGB", (80, 80), "white"), caption(WORDS[:4]), (2, 2))[1:-1]):
        picture = np.asarray(frame.convert("L"))[:480, 80:560]
        y, x = np.unravel_index(picture.argmax(), picture.shape)
        assert (y // 240, x // 240) == divmod(n, 2)


def test_the_present_word_stands_in_a_box_and_what_was_said_stays_where_it_is() -> None:
    frames = film(photograph(), caption(), (2, 2))
    boxes = [marked(frame) for frame in frames]
    assert boxes[0] is boxes[-1] is None
    corners = [box for box in boxes if box]
    assert len(corners) == len(WORDS)
    assert len({y for _, y in corners}) == 1
    assert corners == sorted(set(corners))
    text = [np.asarray(frame)[430:] for frame in frames]
    whole = text[-1]
    for frame, before, (left, _) in zip(text[2:-1], text[1:-2], corners[1:], strict=True):
        assert (frame[:, :left] == whole[:, :left]).all()  # all that stands before the box
        assert (before[:, left + 1 :] == 255).all()  # what is still to come is not shown


def test_a_long_caption_is_broken_into_lines_that_fit() -> None:
    frames = film(photograph(), caption(WORDS * 5), (2, 2))
    corners = [box for box in map(marked, frames) if box]
    assert len(corners) == 30
    assert len({y for _, y in corners}) > 2
    assert all((np.asarray(frame)[430:, -4:] == 255).all() for frame in frames)


@pytest.mark.parametrize("size", [(1, 1), (3, 10_000), (10_000, 3), (500, 2000), (4000, 3000)])
def test_pictures_of_any_shape_have_a_film_of_a_size_to_look_at(size: tuple[int, int]) -> None:
    frames = film(Image.new("RGB", size, "red"), caption(), (2, 2))
    [(width, height)] = {frame.size for frame in frames}
    assert NARROWEST <= width <= 640
    assert height <= 700
    assert (np.asarray(frames[0]) == (255, 0, 0)).all(2).any()


def test_a_gif_plays_for_ever_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.gif", "two.gif"):
        save_gif(tmp_path / name, photograph(), caption(), (2, 2))
    assert (tmp_path / "one.gif").read_bytes() == (tmp_path / "two.gif").read_bytes()
    with Image.open(tmp_path / "one.gif") as gif:
        assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", len(WORDS) + 2, 0)
        times = []
        for n in range(gif.n_frames):
            gif.seek(n)
            times.append(gif.info["duration"])
        assert times == [1800, *[700] * len(WORDS), 1800]


def test_a_gif_keeps_the_colours_even_of_small_things(tmp_path: Path) -> None:
    picture = photograph(640, 400)
    picture.paste("blue", (300, 200, 316, 216))
    said = caption()
    said.weights[:] = 0.25  # lights everything
    save_gif(tmp_path / "a.gif", picture, said, (2, 2))
    frames = film(picture, said, (2, 2))
    with Image.open(tmp_path / "a.gif") as gif:
        for n, frame in enumerate(frames):
            gif.seek(n)
            off = np.abs(np.asarray(gif.convert("RGB"), dtype=float) - np.asarray(frame, dtype=float))
            assert off[200:216, 300:316].mean() < 8
            assert off.mean() < 3


def test_a_caption_without_words_is_a_film_of_the_picture(tmp_path: Path) -> None:
    assert len(film(photograph(), caption(()), (2, 2))) == 1
    save_gif(tmp_path / "a.gif", photograph(), caption(()), (2, 2))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 1


def test_a_full_disk_leaves_the_film_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"the old one")
    with full_disk(2_000), pytest.raises(OSError, match="File too large"):
        save_gif(tmp_path / "a.gif", photograph(), caption(), (2, 2))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.gif", b"the old one")]


def test_a_strip_is_the_sheet_of_panels() -> None:
    sheet = strip(photograph(), caption(), (2, 2))
    assert np.array_equal(np.asarray(sheet), np.asarray(attention_sheet(photograph(), caption(), (2, 2))))


def lightness(values: np.ndarray) -> np.ndarray:
    """L* of CIE 1976 of sRGB values (n, 3) in 0 … 255."""
    share = values / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_the_colours_are_viridis_and_get_lighter_in_even_steps() -> None:
    table = colours(np.linspace(0, 1, 256))
    assert [table[n].tolist() for n in (0, 64, 128, 192, 255)] == pytest.approx(
        np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)]), abs=2
    )
    steps = np.diff(lightness(table.astype(float))[::15])
    assert steps.min() > 0
    assert steps.max() < 1.6 * steps.min()  # whoever sees no colour at all sees the order and the distances
    assert colours([-1, 0, 1, 2]).tolist() == [*[table[0].tolist()] * 2, *[table[-1].tolist()] * 2]


@pytest.mark.parametrize("size", [(70, 70), (300, 20), (30, 150)])
@pytest.mark.parametrize("cell", [0, 10, 23, 34])
def test_heat_lies_over_the_picture_where_the_weight_is(size: tuple[int, int], cell: int) -> None:
    weights = np.full(35, 0.001, dtype=np.float32)
    weights[cell] = 0.966
    layer = heat(weights, (5, 7), size)
    assert (layer.mode, layer.size) == ("RGBA", size)
    alpha = np.asarray(layer)[..., 3]
    y, x = np.unravel_index(alpha.argmax(), alpha.shape)
    assert (y * 5 // size[1], x * 7 // size[0]) == divmod(cell, 7)
    assert alpha.max() > 0.9 * STRENGTH * 255
    assert (alpha[-1, -1] if cell < 18 else alpha[0, 0]) < 3
    assert np.asarray(layer)[y, x, :2].min() > 200  # yellow


def test_heat_has_no_steps_between_the_cells_and_none_at_all_without_weights() -> None:
    alpha = np.asarray(heat(np.array([0.0, 1.0], dtype=np.float32), (1, 2), (400, 10)))[5, :, 3].astype(int)
    assert np.abs(np.diff(alpha)).max() <= 2
    assert np.asarray(heat(np.zeros(4, dtype=np.float32), (2, 2), (8, 8)))[..., 3].max() == 0
