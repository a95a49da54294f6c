"""A canvas with unit coordinates and the strokes of which all backdrops consist."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Frame = tuple[int, int, int, int]
Stroke = Callable[[ImageDraw.ImageDraw, list[Point], int], None]


class Brush:
    """Draws on an RGBA image of ``side`` by ``side`` pixels; points are (x, y) from (0, 0) top left to (1, 1).

    A stroke takes one colour, or two for a vertical gradient between its own top and bottom.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = Image.new("RGBA", (side, side))

    def polygon(self, points: Sequence[Point], top: Colour, bottom: Colour | None = None, alpha: float = 1) -> None:
        self._paint(_draw_polygon, points, 0, (top, bottom or top), alpha)

    def band(self, y0: float, y1: float, top: Colour, bottom: Colour | None = None, alpha: float = 1) -> None:
        """Fills the whole width between two heights."""
        self.polygon([(-0.1, y0), (1.1, y0), (1.1, y1), (-0.1, y1)], top, bottom, alpha)

    def box(self, x0: float, y0: float, x1: float, y1: float, top: Colour, bottom: Colour | None = None) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], top, bottom)

    def ridge(self, heights: Callable[[NDArray[np.float64]], NDArray[np.float64]], top: Colour, bottom: Colour) -> None:
        """Fills everything below a curve y(x)."""
        x = np.linspace(-0.02, 1.02, 120)
        self.polygon([*zip(x.tolist(), heights(x).tolist(), strict=True), (1.02, 1.02), (-0.02, 1.02)], top, bottom)

    def line(self, points: Sequence[Point], width: float, colour: Colour, alpha: float = 1) -> None:
        pen_width = max(1, round(width * self.side))

        def stroke(pen: ImageDraw.ImageDraw, pixels: list[Point], ink: int) -> None:
            pen.line(pixels, fill=ink, width=pen_width, joint="curve")

        self._paint(stroke, points, width, (colour, colour), alpha)

    def disc(self, centre: Point, radius: float, colour: Colour, alpha: float = 1, flat: float = 1) -> None:
        """An ellipse; ``flat`` is its height over its width."""
        (x, y), tall = centre, radius * flat
        self._paint(_draw_ellipse, [(x - radius, y - tall), (x + radius, y + tall)], 0, (colour, colour), alpha)

    def glow(self, centre: Point, radius: float, colour: Colour, alpha: float = 1) -> None:
        """Light that fades to zero at ``radius``."""
        x, y = centre
        frame = self._frame([(x - radius, y - radius), (x + radius, y + radius)], 0)
        rows, columns = np.mgrid[frame[1] : frame[3], frame[0] : frame[2]] / self.side
        far = np.hypot(columns - x, rows - y) / radius
        self._lay(Image.fromarray((np.clip(1 - far, 0, 1) ** 2 * 255 * alpha).astype(np.uint8)), frame, colour)

    def puff(self, discs: Sequence[tuple[Point, float]], colour: Colour, alpha: float, soft: float) -> None:
        """A soft cloud: the union of flattened discs, blurred."""
        corners = [(x + sign * r, y + sign * 0.6 * r) for (x, y), r in discs for sign in (-1, 1)]
        frame = self._frame(corners, 3 * soft)
        mask = Image.new("L", (frame[2] - frame[0], frame[3] - frame[1]))
        pen, pixels = ImageDraw.Draw(mask), self._pixels(corners, frame)
        for low, high in zip(pixels[::2], pixels[1::2], strict=True):
            pen.ellipse((*low, *high), fill=round(255 * alpha))
        self._lay(mask.filter(ImageFilter.GaussianBlur(soft * self.side)), frame, colour)

    def _paint(
        self, stroke: Stroke, points: Sequence[Point], margin: float, colours: tuple[Colour, Colour], alpha: float
    ) -> None:
        frame = self._frame(points, margin)
        mask = Image.new("L", (max(0, frame[2] - frame[0]), max(0, frame[3] - frame[1])))
        if not all(mask.size):
            return
        stroke(ImageDraw.Draw(mask), self._pixels(points, frame), round(255 * alpha))
        heights = [y * self.side - frame[1] for _, y in points]
        top, bottom = colours
        paint = top if top == bottom else gradient(mask.size, min(heights), max(heights), colours)
        self._lay(mask, frame, paint)

    def _lay(self, mask: Image.Image, frame: Frame, paint: Colour | Image.Image) -> None:
        layer = paint if isinstance(paint, Image.Image) else Image.new("RGBA", mask.size, paint)
        layer.putalpha(mask)
        self.image.alpha_composite(layer, frame[:2])

    def _frame(self, points: Sequence[Point], margin: float) -> Frame:
        """The pixels that a stroke can affect: only these are processed, so small strokes are cheap."""
        reach = margin * self.side + 2
        xs, ys = ([point[axis] * self.side for point in points] for axis in (0, 1))
        left, top = (max(0, math.floor(min(values) - reach)) for values in (xs, ys))
        right, bottom = (min(self.side, math.ceil(max(values) + reach)) for values in (xs, ys))
        return left, top, right, bottom

    def _pixels(self, points: Sequence[Point], frame: Frame) -> list[Point]:
        return [(x * self.side - frame[0], y * self.side - frame[1]) for x, y in points]


def _draw_polygon(pen: ImageDraw.ImageDraw, pixels: list[Point], ink: int) -> None:
    pen.polygon(pixels, fill=ink)


def _draw_ellipse(pen: ImageDraw.ImageDraw, pixels: list[Point], ink: int) -> None:
    pen.ellipse(pixels, fill=ink)


def gradient(shape: tuple[int, int], y0: float, y1: float, colours: Sequence[Colour]) -> Image.Image:
    """An RGBA image of (width, height) pixels whose rows go through ``colours`` between the rows y0 and y1."""
    stops, rows = np.linspace(y0, y1, len(colours)), np.arange(shape[1])
    column = np.stack([np.interp(rows, stops, [colour[channel] for colour in colours]) for channel in range(3)], axis=1)
    image = Image.fromarray(column.round().astype(np.uint8)[:, None, :]).resize(shape, Image.Resampling.NEAREST)
    return image.convert("RGBA")


def waves(rng: np.random.Generator, base: float, swing: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A gentle random curve around the height ``base``, at most ``swing`` away from it."""
    speeds, phases = rng.uniform([3, 7, 13], [6, 11, 18]), rng.uniform(0, 2 * np.pi, 3)
    shares = np.array([0.6, 0.3, 0.1]) * swing
    return lambda x: base + np.sin(np.outer(x, speeds) + phases) @ shares
