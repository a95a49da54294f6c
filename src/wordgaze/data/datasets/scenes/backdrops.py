"""The backdrops of the scenes: places by day, at sunset and at night.

A backdrop has three layers: the sky; the land, drawn in daylight and then tinted by the time; and the lights, which
keep their colour in the dark.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from wordgaze.data.datasets.scenes.brush import Brush, Colour, gradient, waves
from wordgaze.data.datasets.scenes.compose import PLACES, Time

_SKIES: dict[Time, list[Colour]] = {
    "day": [(72, 156, 232), (142, 204, 246), (222, 241, 252)],
    "sunset": [(92, 74, 148), (222, 108, 122), (255, 178, 112), (255, 222, 160)],
    "night": [(10, 14, 44), (26, 38, 86), (58, 76, 132)],
}
_TINTS: dict[Time, Colour] = {"day": (255, 255, 255), "sunset": (255, 206, 184), "night": (122, 132, 188)}
_LAMPLIGHT: Colour = (188, 164, 152)
_LAMP: Colour = (255, 222, 140)


class _Layers(NamedTuple):
    land: Brush
    lights: Brush


def tint(image: Image.Image, light: Colour) -> Image.Image:
    """An RGBA image under light of this colour: each channel is multiplied, alpha is unchanged."""
    bands = image.split()
    dimmed = [
        band.point([value * level // 255 for value in range(256)]) for band, level in zip(bands[:3], light, strict=True)
    ]
    return Image.merge("RGBA", (*dimmed, bands[3]))


@cache
def backdrop(place: str, time: Time, variant: int, size: int) -> Image.Image:
    """One of the drawn variants of a place at a time of day, RGB. The result is cached: draw on a copy."""
    number = [known.name for known in PLACES].index(place)
    rng = np.random.default_rng(np.random.SeedSequence((number, list(_TINTS).index(time), variant)))
    picture = _sky(rng, time, 2 * size).reduce(2)  # drawn at twice the size and reduced, for smooth edges
    layers = _Layers(Brush(2 * size), Brush(2 * size))
    _PAINTERS[place](rng, layers)
    light = _LAMPLIGHT if place == "room" and time == "night" else _TINTS[time]
    picture.alpha_composite(_grain(rng, tint(layers.land.image.reduce(2), light)))
    if time == "night":
        picture.alpha_composite(layers.lights.image.reduce(2))
    return picture.convert("RGB")


def _grain(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """A soft texture of broad patches and fine grain."""
    patches = rng.standard_normal((image.height // 16 + 1, image.width // 16 + 1)).astype(np.float32)
    noise = 5 * np.asarray(Image.fromarray(patches).resize(image.size, Image.Resampling.BICUBIC))
    noise += 3 * rng.standard_normal(noise.shape, dtype=np.float32)
    pixels = np.array(image)
    pixels[..., :3] = np.clip(pixels[..., :3] + noise[..., None], 0, 255)
    return Image.fromarray(pixels)


def _sky(rng: np.random.Generator, time: Time, side: int) -> Image.Image:
    brush = Brush(side)
    brush.image = gradient((side, side), 0, 0.62 * side, _SKIES[time])
    if time == "night":
        for x, y, glint in rng.uniform((0, 0, 0.3), (1, 0.55, 1), (70, 3)):
            brush.disc((x, y), 0.0022 + 0.003 * glint**3, (255, 250, 225), alpha=glint)
        _moon(brush, (rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.2)))
        return brush.image
    if time == "day":
        sun = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.16)
        brush.glow(sun, 0.32, (255, 246, 190), 0.9)
        brush.disc(sun, 0.05, (255, 232, 120))
        brush.disc(sun, 0.042, (255, 241, 160))
    else:
        sun = rng.uniform(0.2, 0.8), 0.42
        brush.glow(sun, 0.55, (255, 220, 130), 0.9)
        brush.disc(sun, 0.075, (255, 236, 170))
    for _ in range(int(rng.integers(2, 5))):
        _cloud(rng, brush, (255, 255, 255) if time == "day" else (255, 190, 170))
    return brush.image


def _moon(brush: Brush, centre: tuple[float, float]) -> None:
    x, y = centre
    brush.glow(centre, 0.25, (190, 205, 255), 0.55)
    brush.disc(centre, 0.05, (250, 244, 214))
    for dx, dy, radius in ((-0.015, -0.012, 0.011), (0.016, 0.006, 0.014), (-0.008, 0.022, 0.008)):
        brush.disc((x + dx, y + dy), radius, (226, 218, 188))


def _cloud(rng: np.random.Generator, brush: Brush, colour: Colour) -> None:
    x, y, scale = rng.uniform((0.05, 0.08, 0.7), (0.95, 0.38, 1.2))
    offsets = rng.uniform((-0.09, -0.012), (0.09, 0.012), (7, 2)) * scale
    brush.puff([((x + dx, y + dy), 0.05 * scale) for dx, dy in offsets], colour, 0.8, 0.007)


def _beach(rng: np.random.Generator, layers: _Layers) -> None:
    land = layers.land
    land.band(0.44, 0.7, (30, 116, 190), (92, 206, 214))
    for y in np.linspace(0.46, 0.6, 7):
        for x in rng.uniform(-0.1, 1, 4):
            arc = np.linspace(0, 1, 12)
            length = 0.25 * (y - 0.36) / 0.24
            crest = y - 0.006 * np.sin(np.pi * arc)
            land.line(list(zip((x + length * arc).tolist(), crest.tolist(), strict=True)), 0.005, (226, 246, 255), 0.55)
    shore = waves(rng, 0.63, 0.018)
    land.ridge(lambda x: shore(x) - 0.016, (176, 230, 226), (196, 236, 230))
    land.ridge(lambda x: shore(x) - 0.006, (252, 254, 255), (252, 254, 255))
    land.ridge(lambda x: shore(x) + 0.006, (214, 184, 132), (226, 190, 130))
    land.ridge(lambda x: shore(x) + 0.03, (246, 222, 170), (228, 188, 126))
    for x, y in rng.uniform((0, 0.7), (1, 1), (60, 2)):
        land.disc((x, y), 0.004, (204, 166, 108), 0.6, flat=0.6)


def _street(rng: np.random.Generator, layers: _Layers) -> None:
    land, lights = layers
    facades: list[Colour] = [(222, 140, 112), (240, 202, 140), (150, 176, 196), (206, 164, 186), (168, 190, 150)]
    left = -0.05
    while left < 1:
        width, roof = rng.uniform(0.14, 0.22), rng.uniform(0.18, 0.36)
        r, g, b = facades[rng.integers(len(facades))]
        land.box(left, roof, left + width, 0.62, (r, g, b), (r - 22, g - 22, b - 22))
        land.box(left - 0.006, roof - 0.014, left + width + 0.006, roof, (r - 50, g - 50, b - 50))
        for x in np.arange(left + 0.026, left + width - 0.034, 0.052):
            for y in np.arange(roof + 0.035, 0.54, 0.075):
                land.box(x, y, x + 0.03, y + 0.045, (238, 246, 250), (170, 206, 226))
                if rng.random() < 0.6:
                    lights.box(x, y, x + 0.03, y + 0.045, _LAMP, (250, 190, 96))
        left += width
    land.band(0.6, 0.68, (206, 202, 196), (186, 182, 178))
    land.band(0.675, 0.69, (150, 148, 148))
    land.band(0.69, 0.95, (112, 114, 122), (88, 90, 98))
    start = rng.uniform(-0.15, 0)
    for x in np.arange(start, 1, 0.2):
        land.polygon([(x, 0.825), (x + 0.11, 0.825), (x + 0.1, 0.842), (x - 0.012, 0.842)], (248, 240, 214))
    land.band(0.95, 0.962, (150, 148, 148))
    land.band(0.962, 1, (200, 196, 190))


def _field(rng: np.random.Generator, layers: _Layers) -> None:
    land = layers.land
    land.ridge(waves(rng, 0.44, 0.035), (150, 190, 160), (120, 172, 120))
    land.ridge(waves(rng, 0.5, 0.025), (142, 190, 96), (120, 176, 84))
    ground = waves(rng, 0.57, 0.012)
    land.ridge(ground, (238, 208, 104), (208, 158, 58))
    vanish = rng.uniform(0.3, 0.7)
    for foot in np.arange(-1.6, 2.7, 0.2):
        land.polygon(
            [(vanish + (foot - vanish) * 0.12, 0.585), (foot - 0.035, 1), (foot + 0.035, 1)],
            (190, 140, 50),
            (176, 124, 44),
            0.45,
        )
    _fence(land, 0.575)


def _fence(land: Brush, foot: float) -> None:
    for y in (foot - 0.045, foot - 0.02):
        land.band(y, y + 0.009, (250, 244, 232), (222, 212, 196))
    for x in np.arange(0.02, 1, 0.08):
        land.box(x, foot - 0.065, x + 0.014, foot + 0.008, (255, 250, 240), (216, 206, 190))


def _park(rng: np.random.Generator, layers: _Layers) -> None:
    land, lights = layers
    for x in np.arange(-0.05, 1.1, 0.09):
        land.disc((x, 0.5 + rng.uniform(-0.02, 0.02)), 0.085, (86, 148, 92))
    for x in np.arange(-0.05, 1.1, 0.07):
        land.disc((x, 0.55 + rng.uniform(-0.01, 0.01)), 0.055, (70, 132, 74))
    land.band(0.56, 1, (140, 204, 92), (84, 160, 66))
    bend = rng.uniform(-0.25, 0.25)
    y = np.linspace(0.57, 1.02, 40)
    depth = (y - 0.57) / 0.45
    middle, half = 0.5 + bend * np.sin(3 * depth) - bend * 0.4, 0.02 + 0.16 * depth
    for extra, top, bottom in ((0.012, (208, 184, 140), (190, 160, 112)), (0.0, (244, 226, 188), (228, 202, 154))):
        edge = [*zip(middle - half - extra, y, strict=True), *zip((middle + half + extra)[::-1], y[::-1], strict=True)]
        land.polygon([(float(a), float(b)) for a, b in edge], top, bottom)
    for x, y0 in rng.uniform((0, 0.62), (1, 0.98), (70, 2)):
        land.line([(x, y0), (x + 0.004, y0 - 0.012)], 0.003, (62, 132, 52), 0.7)
    for x in (rng.uniform(0.06, 0.2), rng.uniform(0.8, 0.94)):
        _street_lamp(land, lights, x)


def _street_lamp(land: Brush, lights: Brush, x: float) -> None:
    land.box(x - 0.006, 0.36, x + 0.006, 0.6, (70, 76, 88), (54, 58, 70))
    land.disc((x, 0.345), 0.024, (246, 242, 226))
    lights.glow((x, 0.345), 0.22, _LAMP, 0.75)
    lights.disc((x, 0.345), 0.022, (255, 240, 190))


def _desert(rng: np.random.Generator, layers: _Layers) -> None:
    land = layers.land
    for left in (rng.uniform(0, 0.15), rng.uniform(0.55, 0.7)):
        width, top = rng.uniform(0.16, 0.26), rng.uniform(0.3, 0.36)
        land.polygon(
            [(left, 0.56), (left + 0.03, top), (left + width - 0.03, top), (left + width, 0.56)],
            (206, 118, 84),
            (222, 152, 108),
        )
    land.ridge(waves(rng, 0.49, 0.03), (240, 178, 108), (226, 150, 84))
    land.ridge(waves(rng, 0.57, 0.04), (250, 198, 122), (236, 160, 86))
    land.ridge(waves(rng, 0.68, 0.035), (255, 212, 138), (234, 158, 82))
    for level in np.linspace(0.74, 0.99, 7):
        ripple = waves(rng, level, 0.012)
        x = np.linspace(0, 1, 60)
        land.line(list(zip(x.tolist(), ripple(x).tolist(), strict=True)), 0.004, (212, 138, 70), 0.5)


def _lake(rng: np.random.Generator, layers: _Layers) -> None:
    land = layers.land
    for x in (rng.uniform(-0.05, 0.2), rng.uniform(0.3, 0.55), rng.uniform(0.7, 1)):
        _mountain(land, x, rng.uniform(0.2, 0.3), rng.uniform(0.2, 0.3))
    land.ridge(waves(rng, 0.465, 0.015), (84, 146, 112), (66, 126, 96))
    land.band(0.49, 0.8, (112, 190, 226), (46, 130, 188))
    for x, y in rng.uniform((-0.1, 0.505), (1, 0.68), (26, 2)):
        length = 0.05 + 0.7 * (y - 0.48)
        land.line([(x, y), (x + length, y)], 0.0045, (208, 238, 250), 0.6)
    shore = waves(rng, 0.7, 0.022)
    land.ridge(lambda x: shore(x) - 0.012, (216, 196, 150), (200, 176, 128))
    land.ridge(shore, (134, 196, 92), (76, 148, 66))
    for x, y in rng.uniform((0, 0.76), (1, 1), (80, 2)):
        land.line([(x, y), (x + rng.uniform(-0.006, 0.006), y - 0.016)], 0.003, (58, 124, 54), 0.7)


def _mountain(land: Brush, x: float, top: float, half: float) -> None:
    slope = half / (0.5 - top)
    land.polygon([(x - half, 0.5), (x, top), (x + half, 0.5)], (124, 142, 176), (150, 176, 190))
    land.polygon([(x, top), (x + half, 0.5), (x + half * 0.2, 0.5)], (96, 114, 152), (126, 152, 172))
    snow = 0.075
    land.polygon(
        [
            (x, top),
            (x + slope * snow, top + snow),
            (x + slope * 0.03, top + snow * 0.75),
            (x, top + snow * 1.15),
            (x - slope * 0.035, top + snow * 0.75),
            (x - slope * snow, top + snow),
        ],
        (252, 253, 255),
        (226, 234, 244),
    )


def _room(rng: np.random.Generator, layers: _Layers) -> None:
    land, lights = layers
    papers: list[Colour] = [(246, 226, 190), (206, 224, 208), (240, 210, 206), (208, 216, 238)]
    r, g, b = papers[rng.integers(len(papers))]
    x0 = float(rng.choice([0.1, 0.36, 0.6]))
    x1, y0, y1 = x0 + 0.3, 0.1, 0.42  # the window stays open to the sky
    for left, top, right, bottom in ((0, 0, 1, y0), (0, y1, 1, 0.62), (0, y0, x0, y1), (x1, y0, 1, y1)):
        land.box(left, top, right, bottom, (r, g, b))
    for x in np.arange(0.0, 1, 0.07):
        if x + 0.025 < x0 or x > x1:
            land.box(x, 0, x + 0.025, 0.62, (r - 12, g - 12, b - 10))
    land.band(0.59, 0.62, (255, 252, 244), (220, 212, 200))
    land.band(0.62, 1, (206, 150, 98), (176, 116, 68))
    for foot in np.arange(-1.2, 2.3, 0.2):
        land.line([(0.5 + (foot - 0.5) * 0.55, 0.62), (foot, 1)], 0.004, (138, 88, 50), 0.75)
    rugs: list[Colour] = [(196, 84, 84), (84, 128, 176), (100, 150, 120)]
    red, green, blue = rugs[rng.integers(len(rugs))]
    land.disc((0.5, 0.84), 0.4, (red - 30, green - 30, blue - 30), flat=0.3)
    land.disc((0.5, 0.84), 0.37, (244, 232, 206), flat=0.3)
    land.disc((0.5, 0.84), 0.35, (red, green, blue), flat=0.3)
    _window(land, x0, y0, x1, y1, (red, green, blue))
    lights.glow((0.5, 0.7), 0.8, (255, 206, 130), 0.5)


def _window(land: Brush, x0: float, y0: float, x1: float, y1: float, curtain: Colour) -> None:
    white: Colour = (255, 252, 246)
    middle = (x0 + x1) / 2
    for points in (
        [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)],
        [(middle, y0), (middle, y1)],
        [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)],
    ):
        land.line(points, 0.016, white)
    land.box(x0 - 0.03, y1, x1 + 0.03, y1 + 0.022, white, (214, 206, 194))
    pale = curtain[0] + 24, curtain[1] + 24, curtain[2] + 24
    for outer, inner in ((x0 - 0.045, x0 + 0.06), (x1 + 0.045, x1 - 0.06)):
        land.polygon(
            [(outer, y0 - 0.03), (inner, y0 - 0.03), ((outer + inner) / 2, y0 + 0.2), (outer, y1 + 0.03)], pale, curtain
        )
    land.line([(x0 - 0.07, y0 - 0.03), (x1 + 0.07, y0 - 0.03)], 0.014, (140, 92, 58))


def _snowy_hill(rng: np.random.Generator, layers: _Layers) -> None:
    land = layers.land
    land.ridge(waves(rng, 0.4, 0.05), (184, 206, 230), (206, 222, 240))
    land.ridge(waves(rng, 0.49, 0.04), (210, 226, 242), (226, 238, 248))
    tilt = rng.choice([-0.1, 0.1])
    crest = waves(rng, 0.57, 0.012)
    land.ridge(lambda x: crest(x) + tilt * (x - 0.5), (250, 252, 255), (206, 222, 240))
    for x, y in rng.uniform((0, 0.68), (1, 0.98), (14, 2)):
        land.disc((x, y), rng.uniform(0.03, 0.08), (190, 210, 234), 0.35, flat=0.18)
    for x, y, near in rng.uniform((0, 0, 0), (1, 0.95, 1), (70, 3)):
        land.disc((x, y), 0.003 + 0.005 * near, (255, 255, 255), 0.5 + 0.45 * near)


_PAINTERS: dict[str, Callable[[np.random.Generator, _Layers], None]] = {
    "beach": _beach,
    "street": _street,
    "field": _field,
    "park": _park,
    "desert": _desert,
    "lake": _lake,
    "room": _room,
    "snowy hill": _snowy_hill,
}
