"""An animation of a caption: one frame per word, with the photograph lit by its attention and the words beneath."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from wordgaze.core.files import atomic_write
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import spotlight

WIDTH, HEIGHT = 640, 480  # pixels, the largest size of the photograph
NARROWEST = 320  # pixels, the smallest width of a frame, so that words fit
TEXT = 24
LINE, SPACE, _MARGIN = 36, 8, 12
WORD_MS, REST_MS = 700, 1800  # duration of a word's frame, and of the first and the last frame
INK, PAPER, MARK = "#1a1a1a", "#ffffff", "#00457c"


class _Position(NamedTuple):
    """A word, its left and upper edge beneath the photograph, and its width, in pixels."""

    word: str
    x: int
    y: int
    width: int


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


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=TEXT)


def _positions(words: Sequence[str], width: int) -> tuple[list[_Position], int]:
    """The positions of the words in lines of ``width``, which are the same in all frames, and the lines' height."""
    font, positions = _font(), []
    x, y = _MARGIN, _MARGIN
    for word in words:
        word_width = round(font.getlength(word))
        if x > _MARGIN and x + word_width > width - _MARGIN:
            x, y = _MARGIN, y + LINE
        positions.append(_Position(word, x, y, word_width))
        x += word_width + 2 * SPACE
    return positions, y + LINE + _MARGIN


def _frame(picture: Image.Image, text_height: int, words: Sequence[_Position], current: int | None) -> Image.Image:
    width = max(picture.width, NARROWEST)
    frame = Image.new("RGB", (width, picture.height + text_height), PAPER)
    frame.paste(picture, ((width - picture.width) // 2, 0))
    draw, font = ImageDraw.Draw(frame), _font()
    for n, (word, x, y, word_width) in enumerate(words):
        top = picture.height + y
        if n == current:
            draw.rounded_rectangle((x - SPACE, top, x + word_width + SPACE, top + LINE - 4), 6, fill=MARK)
        fill = PAPER if n == current else INK
        draw.text((x, top + LINE / 2 - 2), word, fill=fill, font=font, anchor="lm")
    return frame


def _with_palette(frame: Image.Image) -> Image.Image:
    """The frame in 256 colours.

    They are found by k-means, because the median cut alone drops small regions of a distinct colour. A reduced copy is
    enough for that and much faster. Dithering would double the size of the file.
    """
    palette = frame.reduce(4).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return frame.quantize(palette=palette, dither=Image.Dither.NONE)
