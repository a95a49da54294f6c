"""A caption being said: a frame a word, the photograph lit where the word looked, the words underneath."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from wordgaze.core.files import atomic_write
from wordgaze.generation.outputs import Caption
from wordgaze.inference.attention_maps import spotlight

WIDTH, HEIGHT = 640, 480  # pixels that the photograph takes at most
NARROWEST = 320  # and the frame at least, for the words
TEXT = 24
LINE, SPACE, MARGIN = 36, 8, 12
WORD_MS, REST_MS = 700, 1800  # how long a word stands; and the plain picture before, and the whole caption after
INK, PAPER, MARK = "#1a1a1a", "#ffffff", "#00457c"


def film(image: Image.Image, caption: Caption) -> list[Image.Image]:
    """The plain picture; then a frame a word, lit where it looked, the words so far underneath and the present one in
    a box; then the picture with the whole caption. All are RGB and of one size."""
    scale = min(WIDTH / image.width, HEIGHT / image.height)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    lit = [spotlight(small, attention) for attention in caption.attention]
    count = len(caption.words)
    places, height = _places(caption.words, max(small.width, NARROWEST))
    frames = [_frame(small, height, [], None)]
    for n, picture in enumerate(lit):
        frames.append(_frame(picture, height, places[: n + 1], n))
    return [*frames, _frame(small, height, places, None)] if count else frames


def save_gif(path: Path, image: Image.Image, caption: Caption) -> None:
    """Writes the film as a GIF that starts over for ever, whole or not at all. The same film gives the same bytes."""
    frames = film(image, caption)
    first, *others = [_with_palette(frame) for frame in frames]
    times = [REST_MS, *[WORD_MS] * (len(others) - 1), REST_MS][: len(frames)]
    with atomic_write(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=times, loop=0)


_Place = tuple[str, int, int, int]  # a word, its left and upper edge under the photograph, its width


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=TEXT)


def _places(words: Sequence[str], width: int) -> tuple[list[_Place], int]:
    """Where each word stands in lines of ``width``, which it keeps from frame to frame; and how high they are."""
    font, places = _font(), []
    x, y = MARGIN, MARGIN
    for word in words:
        long = round(font.getlength(word))
        if x > MARGIN and x + long > width - MARGIN:
            x, y = MARGIN, y + LINE
        places.append((word, x, y, long))
        x += long + 2 * SPACE
    return places, y + LINE + MARGIN


def _frame(picture: Image.Image, height: int, said: Sequence[_Place], now: int | None) -> Image.Image:
    width = max(picture.width, NARROWEST)
    frame = Image.new("RGB", (width, picture.height + height), PAPER)
    frame.paste(picture, ((width - picture.width) // 2, 0))
    draw, font = ImageDraw.Draw(frame), _font()
    for n, (word, x, y, long) in enumerate(said):
        top = picture.height + y
        if n == now:
            draw.rounded_rectangle((x - SPACE, top, x + long + SPACE, top + LINE - 4), 6, fill=MARK)
        draw.text((x, top + LINE / 2 - 2), word, fill=PAPER if n == now else INK, font=font, anchor="lm")
    return frame


def _with_palette(frame: Image.Image) -> Image.Image:
    """The frame in the 256 colours that fit it best. They are found by k-means, because the median cut alone forgets
    small things of a colour of their own, on a small copy, because that takes long; dots would double the file."""
    palette = frame.reduce(4).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return frame.quantize(palette=palette, dither=Image.Dither.NONE)
