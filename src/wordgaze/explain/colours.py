"""Attention as colour: a map whose steps look even, in print as on a screen, and that colour-blind people can read."""

import numpy as np
import numpy.typing as npt
from PIL import Image

STRENGTH = 0.6  # how far the strongest attention covers the photograph

# Viridis of Stéfan van der Walt and Nathaniel Smith (public domain, CC0), dark violet to yellow, at 33 places; linear
# between them it is nowhere more than two of 255 off.
_VIRIDIS = (
    "440154 470d60 48186a 482374 472d7b 453681 424086 3f4989 3b528b 375a8d 33638d "
    "2f6a8e 2c728e 297a8e 26818e 23898e 21908c 1f988b 1f9f88 21a685 28ae80 31b57b "
    "3ebc74 4cc26c 5dc963 6ece58 82d34c 96d83f abdc32 c0df24 d5e21a eae51a fde725"
)
_ANCHORS = np.array([list(bytes.fromhex(colour)) for colour in _VIRIDIS.split()], dtype=np.float64)  # (33, 3)


def colours(values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Red, green and blue (..., 3) of values (...) from 0, dark violet, to 1, yellow; what lies beyond is cut off."""
    places = np.clip(np.asarray(values, dtype=np.float64), 0, 1) * (len(_ANCHORS) - 1)
    channels = [np.interp(places, np.arange(len(_ANCHORS)), channel) for channel in _ANCHORS.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def heat(weights: npt.NDArray[np.float32], grid: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Attention as a layer (RGBA) to lay over a picture of ``size`` = (width, height).

    ``weights`` (L,) in row-major order over ``grid`` = (rows, columns). Between the middles of the cells they are
    interpolated smoothly; the largest is yellow and covers most, what was not looked at is left as it is.
    """
    strongest = max(float(weights.max()), 1e-12)
    cells = Image.fromarray((weights / strongest).reshape(grid).astype(np.float32))
    values = np.clip(np.asarray(cells.resize(size, Image.Resampling.BICUBIC)), 0, 1)
    alpha = (values * STRENGTH * 255).round().astype(np.uint8)
    return Image.fromarray(np.dstack([colours(values), alpha]))
