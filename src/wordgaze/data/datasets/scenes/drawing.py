"""Draws a scene: the backdrop, then shadows and pictograms from far to near."""

from functools import cache

import numpy as np
from PIL import Image, ImageOps

from wordgaze.data.datasets.scenes.backdrops import backdrop, tint
from wordgaze.data.datasets.scenes.brush import Colour
from wordgaze.data.datasets.scenes.compose import Scene, Thing, Time
from wordgaze.data.datasets.scenes.nouns import AIRBORNE, pictogram

_LIGHT: dict[Time, Colour] = {"day": (255, 255, 255), "sunset": (255, 236, 222), "night": (206, 212, 238)}
_SHADOW: Colour = (24, 26, 48)


def draw(scene: Scene) -> Image.Image:
    """The RGB image of a scene, ``scene.size`` pixels wide and high."""
    picture = backdrop(scene.place.name, scene.time, scene.backdrop, scene.size).copy()
    things = [(group.noun, thing) for group in scene.groups for thing in group.things]
    for noun, thing in sorted(things, key=lambda pair: pair[1].box[3]):
        if noun not in AIRBORNE:
            _shade(picture, thing)
        left, top, right, bottom = thing.box
        image = _lit(noun, scene.time).resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        image = ImageOps.mirror(image) if thing.mirrored else image
        picture.paste(image, (left, top), image)
    return picture


@cache
def _lit(noun: str, time: Time) -> Image.Image:
    return tint(pictogram(noun), _LIGHT[time])


def _shade(picture: Image.Image, thing: Thing) -> None:
    """A soft shadow on the ground around the base of an object."""
    left, _, right, bottom = thing.box
    width, height = round((right - left) * 1.1), max(2, round((right - left) * 0.22))
    shadow = _soft_disc().resize((width, height))
    picture.paste(_SHADOW, (left - (width - (right - left)) // 2, bottom - round(height * 0.6)), shadow)


@cache
def _soft_disc() -> Image.Image:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    return Image.fromarray((np.clip(1 - np.hypot(x, y), 0, 0.6) / 0.6 * 120).astype(np.uint8))
