"""Attention over the photograph: a panel a word, bright where the word looked."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wordgaze.generation.outputs import Caption

PANEL = 224  # pixels, the long side of a panel
COLUMNS = 6
MARGIN = 8
TOLD = 0.005  # a share of attention on no cell from which on it is told
SHADE = 0.25  # brightness of what a word did not look at


def spotlight(image: Image.Image, attention: npt.NDArray[np.float32]) -> Image.Image:
    """The picture, lit by the attention (rows, columns) of one word."""
    cells = Image.fromarray((attention / max(float(attention.max()), 1e-12)).astype(np.float32))
    light = np.clip(np.asarray(cells.resize(image.size, Image.Resampling.BICUBIC)), 0, 1)[..., None]
    shaded = np.asarray(image, dtype=np.float32) * (SHADE + (1 - SHADE) * light)
    return Image.fromarray(shaded.round().astype(np.uint8))


def attention_sheet(image: Image.Image, caption: Caption) -> Image.Image:
    """One panel a word, the plain picture first, each with its word and the word's probability beneath; and with the
    share of attention that fell on no cell, where there is one: the sentinel's, or what local attention cut off."""
    panels = _panels(image, caption)
    return _laid_out([panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)])


def comparison_sheet(
    image: Image.Image, captions: Sequence[tuple[str, Caption]], columns: int = COLUMNS * 2
) -> Image.Image:
    """One row a captioner, of names and captions: its name under the plain picture, then a panel a word."""
    rows = []
    for name, caption in captions:
        panels = [(_small(image), name), *_panels(image, caption)[1:]]
        rows += [panels[i : i + columns] for i in range(0, len(panels), columns)]
    return _laid_out(rows)


Panel = tuple[Image.Image, str]


def _panels(image: Image.Image, caption: Caption) -> list[Panel]:
    small = _small(image)
    panels = [(small, "")]
    for word, attention, log_prob in zip(caption.words, caption.attention, caption.word_log_probs, strict=True):
        missing = 1 - float(attention.sum())
        elsewhere = f"\nelsewhere {missing:.0%}" if missing > TOLD else ""
        panels.append((spotlight(small, attention), f"{word}  {math.exp(log_prob):.2f}{elsewhere}"))
    return panels


def _small(image: Image.Image) -> Image.Image:
    scale = PANEL / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _laid_out(rows: Sequence[Sequence[Panel]]) -> Image.Image:
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
