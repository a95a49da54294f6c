"""The film shows the words one after the other, lit by their attention; its colours can be read by colour-blind people."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.disk import full_disk
from wordgaze.generation.outputs import Caption
from wordgaze.inference.film import MARK, NARROWEST, film, save_gif

WORDS = ("a", "dog", "runs", "over", "the", "grass")


def caption(words: tuple[str, ...] = WORDS, cells: int = 4) -> Caption:
    """Word number n looks at cell n alone."""
    weights = np.eye(cells, dtype=np.float32)[np.arange(len(words)) % cells]
    side = int(cells**0.5)
    return Caption(words, -1.0, -1.0, (-0.5,) * len(words), weights.reshape(len(weights), side, side), "end")


def photograph(width: int = 90, height: int = 60) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def marked(frame: Image.Image) -> tuple[int, int] | None:
    """The left upper corner of the box around the present word."""
    rows, columns = (np.asarray(frame) == ImageColor.getrgb(MARK)).all(2).nonzero()
    return (int(columns.min()), int(rows.min())) if len(rows) else None


def test_a_film_has_a_frame_a_word_between_two_of_the_plain_picture() -> None:
    frames = film(photograph(), caption())
    assert {(frame.mode, frame.size[0]) for frame in frames} == {("RGB", 640)}
    assert len({frame.size for frame in frames}) == 1
    photographs = [np.asarray(frame)[: round(640 * 60 / 90)] for frame in frames]
    assert len(frames) == len(WORDS) + 2
    assert np.array_equal(photographs[0], photographs[-1])
    lit = [int(p.sum()) < int(photographs[0].sum()) for p in photographs]
    assert lit == [False, *[True] * len(WORDS), False]


def test_each_frame_is_bright_where_its_word_attended() -> None:
    for n, frame in enumerate(film(Image.new("RGB", (80, 80), "white"), caption(WORDS[:4]))[1:-1]):
        picture = np.asarray(frame.convert("L"))[:480, 80:560]
        y, x = np.unravel_index(picture.argmax(), picture.shape)
        assert (y // 240, x // 240) == divmod(n, 2)


def test_the_present_word_stands_in_a_box_and_what_was_generated_stays_where_it_is() -> None:
    frames = film(photograph(), caption())
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
    frames = film(photograph(), caption(WORDS * 5))
    corners = [box for box in map(marked, frames) if box]
    assert len(corners) == 30
    assert len({y for _, y in corners}) > 2
    assert all((np.asarray(frame)[430:, -4:] == 255).all() for frame in frames)


@pytest.mark.parametrize("size", [(1, 1), (3, 10_000), (10_000, 3), (500, 2000), (4000, 3000)])
def test_pictures_of_any_shape_have_a_film_of_a_size_to_look_at(size: tuple[int, int]) -> None:
    frames = film(Image.new("RGB", size, "red"), caption())
    [(width, height)] = {frame.size for frame in frames}
    assert NARROWEST <= width <= 640
    assert height <= 700
    assert (np.asarray(frames[0]) == (255, 0, 0)).all(2).any()


def test_a_gif_plays_for_ever_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.gif", "two.gif"):
        save_gif(tmp_path / name, photograph(), caption())
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
    generated = caption()
    generated.attention[:] = 0.25  # lights everything
    save_gif(tmp_path / "a.gif", picture, generated)
    frames = film(picture, generated)
    with Image.open(tmp_path / "a.gif") as gif:
        for n, frame in enumerate(frames):
            gif.seek(n)
            off = np.abs(np.asarray(gif.convert("RGB"), dtype=float) - np.asarray(frame, dtype=float))
            assert off[200:216, 300:316].mean() < 8
            assert off.mean() < 3


def test_a_caption_without_words_is_a_film_of_the_picture(tmp_path: Path) -> None:
    assert len(film(photograph(), caption(()))) == 1
    save_gif(tmp_path / "a.gif", photograph(), caption(()))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 1


def test_a_full_disk_leaves_the_film_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"the old one")
    with full_disk(2_000), pytest.raises(OSError, match="File too large"):
        save_gif(tmp_path / "a.gif", photograph(), caption())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.gif", b"the old one")]


def box_edges(frames: list[Image.Image]) -> list[int]:
    """The left edge of the box around the word of each frame that has one."""
    return [corner[0] for frame in frames if (corner := marked(frame))]


def test_words_of_a_right_to_left_caption_run_to_the_left_and_start_anew_at_the_right() -> None:
    edges = box_edges(film(photograph(), caption(("قطة", "بيضاء", "تجلس", "على", "كرسي"))))
    assert len(edges) == 5 and edges == sorted(edges, reverse=True)
    assert edges[0] > 560
    lines = box_edges(film(photograph(), caption(("بيضاء",) * 30)))
    assert lines.count(lines[0]) > 1 and max(lines) == lines[0]


def test_words_of_another_direction_keep_their_own_order() -> None:
    cat, dvd, player, chair = box_edges(film(photograph(), caption(("قطة", "DVD", "player", "كرسي"))))
    assert chair < dvd < player < cat


def test_a_word_that_is_wider_than_the_frame_is_made_to_fit() -> None:
    for word in ("Donaudampfschifffahrtsgesellschaft" * 3, "แมวสีขาวนั่งอยู่บนเก้าอี้" * 4):
        last = np.asarray(film(photograph(), caption((word,)))[-1])
        assert (last[-40:, -8:] == 255).all() and (last[-40:] < 128).any()
