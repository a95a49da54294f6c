"""Attention drawn over the photograph: one panel per word, bright where the attention is high."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wordgaze.generation.outputs import Caption

PANEL = 224  # pixels, the long side of a panel
_PANELS_PER_ROW = 6
MARGIN = 8
MIN_ELSEWHERE = 0.005  # the smallest share of attention outside the grid that a label mentions
SHADE = 0.25  # brightness where the attention is zero

Panel = tuple[Image.Image, str]  # a picture and the label beneath it


def spotlight(image: Image.Image, attention: npt.NDArray[np.float32]) -> Image.Image:
    """The image, lit by the attention (rows, columns) of one word, which is scaled so that its maximum is 1."""
    cells = Image.fromarray((attention / max(float(attention.max()), 1e-12)).astype(np.float32))
    light = np.clip(np.asarray(cells.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    shaded = np.asarray(image, dtype=np.float32) * (SHADE + (1 - SHADE) * light)
    return Image.fromarray(shaded.round().astype(np.uint8))


def attention_sheet(image: Image.Image, caption: Caption) -> Image.Image:
    """The plain image, then one panel per word with the word and its probability beneath.

    Where a share of the attention lies outside the grid (on the sentinel, or cut off by local attention), the label
    gives that share too.
    """
    panels = _panels(image, caption)
    return _sheet([panels[i : i + _PANELS_PER_ROW] for i in range(0, len(panels), _PANELS_PER_ROW)])


def comparison_sheet(
    image: Image.Image, captions: Sequence[tuple[str, Caption]], columns: int = _PANELS_PER_ROW * 2
) -> Image.Image:
    """One row per captioner: the plain image with the captioner's name beneath, then one panel per word."""
    rows = []
    for name, caption in captions:
        panels = [(_thumbnail(image), name), *_panels(image, caption)[1:]]
        rows += [panels[i : i + columns] for i in range(0, len(panels), columns)]
    return _sheet(rows)


def _panels(image: Image.Image, caption: Caption) -> list[Panel]:
    thumbnail = _thumbnail(image)
    panels = [(thumbnail, "")]
    for word, attention, log_prob in zip(caption.words, caption.attention, caption.word_log_probs, strict=True):
        outside = 1 - float(attention.sum())
        elsewhere = f"\nelsewhere {outside:.0%}" if outside > MIN_ELSEWHERE else ""
        panels.append((spotlight(thumbnail, attention), f"{word}  {math.exp(log_prob):.2f}{elsewhere}"))
    return panels


def _thumbnail(image: Image.Image) -> Image.Image:
    scale = PANEL / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _sheet(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Panels of equal size in rows, on white."""
    font = ImageFont.load_default(size=16)
    first = rows[0][0][0]
    lines = max(label.count("\n") + 1 for row in rows for _, label in row)
    width, height = first.width + MARGIN, first.height + 24 * lines + MARGIN
    size = (max(len(row) for row in rows) * width + MARGIN, len(rows) * height + MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        for c, (panel, label) in enumerate(row):
            x, y = MARGIN + c * width, MARGIN + r * height
            sheet.paste(panel, (x, y))
            draw.text((x + 2, y + first.height + 2), label, fill="black", font=font)
    return sheet
