"""An animation of a caption: one frame per word, with the photograph lit by its attention and the words beneath."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from wordgaze.core.files import atomic_write
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import spotlight
from wordgaze.inference.text_direction import embedding_levels, is_right_to_left, visual_order
from wordgaze.inference.text_drawing import Lettering

WIDTH, HEIGHT = 640, 480  # pixels, the largest size of the photograph
NARROWEST = 320  # pixels, the smallest width of a frame, so that words fit
TEXT = 24
LINE, SPACE, _MARGIN = 36, 8, 12
WORD_MS, REST_MS = 700, 1800  # duration of a word's frame, and of the first and the last frame
INK, PAPER, MARK = "#1a1a1a", "#ffffff", "#00457c"


class _Position(NamedTuple):
    """A word, its left and upper edge beneath the photograph, its width in pixels, and how it is drawn."""

    word: str
    x: int
    y: int
    width: int
    lettering: Lettering


def film(image: Image.Image, caption: Caption) -> list[Image.Image]:
    """The frames, which are RGB images of one size.

    The first is the plain image. Then each word has a frame, lit by its attention, with the words so far beneath and
    the current one in a box. The last is the plain image with the whole caption.
    """
    scale = min(WIDTH / image.width, HEIGHT / image.height)
    photo = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    positions, height = _positions(caption.words, max(photo.width, NARROWEST))
    frames = [_frame(photo, height, [], None)]
    for n, attention in enumerate(caption.attention):
        frames.append(_frame(spotlight(photo, attention), height, positions[: n + 1], n))
    return [*frames, _frame(photo, height, positions, None)] if positions else frames


def save_gif(path: Path, image: Image.Image, caption: Caption) -> None:
    """Writes the film as a GIF that repeats for ever, atomically. The same film gives the same bytes."""
    frames = film(image, caption)
    first, *others = [_with_palette(frame) for frame in frames]
    durations = [REST_MS, *[WORD_MS] * (len(others) - 1), REST_MS][: len(frames)]
    with atomic_write(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _positions(words: Sequence[str], width: int) -> tuple[list[_Position], int]:
    """The positions of the words in lines of ``width``, which are the same in all frames, and the lines' height.

    The lines of a caption in a right-to-left script start at the right.
    """
    right_to_left, room = is_right_to_left(" ".join(words)), width - 2 * _MARGIN
    whole = Lettering.of(words, TEXT, right_to_left)
    positions: list[_Position] = []
    for n, line in enumerate(_lines(words, whole, room) or [[]]):
        fitted = [whole.fitted(word, room) for word in line]
        widths = [round(lettering.width(word)) for lettering, word in fitted]
        x = width - _MARGIN - sum(widths) - 2 * SPACE * (len(line) - 1) if right_to_left else _MARGIN
        edges = {}
        for place in _visual_order(line, right_to_left):
            edges[place] = x
            x += widths[place] + 2 * SPACE
        positions += [
            _Position(word, edges[place], _MARGIN + n * LINE, widths[place], lettering)
            for place, (lettering, word) in enumerate(fitted)
        ]
    return positions, (positions[-1].y if positions else _MARGIN) + LINE + _MARGIN


def _lines(words: Sequence[str], lettering: Lettering, room: int) -> list[list[str]]:
    """The words in lines of at most ``room`` pixels, each of at least one word."""
    lines: list[list[str]] = []
    x = 0
    for word in words:
        width = round(lettering.width(word))
        if not lines or x + width > room:
            lines.append([])
            x = 0
        lines[-1].append(word)
        x += width + 2 * SPACE
    return lines


def _visual_order(line: Sequence[str], right_to_left: bool) -> list[int]:
    """The places of the words of a line, from left to right."""
    levels = embedding_levels(" ".join(line), right_to_left)
    starts = [sum(len(word) + 1 for word in line[:place]) for place in range(len(line))]
    return visual_order(range(len(line)), [levels[start] for start in starts])


def _frame(picture: Image.Image, text_height: int, words: Sequence[_Position], current: int | None) -> Image.Image:
    width = max(picture.width, NARROWEST)
    frame = Image.new("RGB", (width, picture.height + text_height), PAPER)
    frame.paste(picture, ((width - picture.width) // 2, 0))
    for n, (word, x, y, word_width, lettering) in enumerate(words):
        top = picture.height + y
        if n == current:
            box = (x - SPACE, top, x + word_width + SPACE, top + LINE - 4)
            ImageDraw.Draw(frame).rounded_rectangle(box, 6, fill=MARK)
        lettering.draw(frame, (x, top + LINE / 2 - 2), word, PAPER if n == current else INK, anchor="lm")
    return frame


def _with_palette(frame: Image.Image) -> Image.Image:
    """The frame in 256 colours.

    They are found by k-means, because the median cut alone drops small regions of a distinct colour. A reduced copy is
    enough for that and much faster. Dithering would double the size of the file.
    """
    palette = frame.reduce(4).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return frame.quantize(palette=palette, dither=Image.Dither.NONE)
