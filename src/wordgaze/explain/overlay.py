"""Attention over the photograph: a panel a word, bright where the word looked."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wordgaze.decoding.base import Caption

PANEL = 224  # pixels, the long side of a panel
COLUMNS = 6
MARGIN = 8
SHADE = 0.25  # brightness of what a word did not look at


def spotlight(image: Image.Image, weights: npt.NDArray[np.float32], grid: tuple[int, int]) -> Image.Image:
    """The picture, lit by attention. ``weights`` (L,) in row-major order over ``grid`` = (rows, columns)."""
    rows, columns = grid
    cells = Image.fromarray((weights / max(float(weights.max()), 1e-12)).reshape(rows, columns).astype(np.float32))
    light = np.clip(np.asarray(cells.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    shaded = np.asarray(image, dtype=np.float32) * (SHADE + (1 - SHADE) * light)
    return Image.fromarray(shaded.round().astype(np.uint8))


def attention_sheet(image: Image.Image, caption: Caption, grid: tuple[int, int]) -> Image.Image:
    """One panel a word, the plain picture first, each with its word and the word's probability beneath."""
    scale = PANEL / max(image.size)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    panels = [(small, "")] + [
        (spotlight(small, weights, grid), f"{word}  {math.exp(log_prob):.2f}")
        for word, weights, log_prob in zip(caption.words, caption.weights, caption.word_log_probs, strict=True)
    ]
    font = ImageFont.load_default(size=16)
    columns, rows = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    width, height = small.width + MARGIN, small.height + 24 + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (panel, label) in enumerate(panels):
        x, y = MARGIN + i % columns * width, MARGIN + i // columns * height
        sheet.paste(panel, (x, y))
        draw.text((x + 2, y + small.height + 2), label, fill="black", font=font)
    return sheet
