"""Attention drawn over the photograph: one panel per word, bright where the attention is high."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from wordgaze.generation.outputs import Caption
from wordgaze.inference.text_direction import is_right_to_left, with_mark
from wordgaze.inference.text_drawing import Lettering

PANEL = 224  # pixels, the long side of a panel
_PANELS_PER_ROW = 6
MARGIN = 8
_TEXT, _LINE, _PITCH = 16, 24, 20  # pixels: the size of labels, the room for each of their lines, the lines' distance
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
    gives that share too. The panels of a caption in a right-to-left script run from right to left.
    """
    panels = _panels(image, caption)
    rows = [panels[i : i + _PANELS_PER_ROW] for i in range(0, len(panels), _PANELS_PER_ROW)]
    return _sheet(rows, _runs_right_to_left(caption))


def comparison_sheet(
    image: Image.Image, captions: Sequence[tuple[str, Caption]], columns: int = _PANELS_PER_ROW * 2
) -> Image.Image:
    """One row per captioner: the plain image with the captioner's name beneath, then one panel per word."""
    rows = []
    for name, caption in captions:
        panels = [(_thumbnail(image), name), *_panels(image, caption)[1:]]
        rows += [panels[i : i + columns] for i in range(0, len(panels), columns)]
    return _sheet(rows, any(_runs_right_to_left(caption) for _, caption in captions))


def _runs_right_to_left(caption: Caption) -> bool:
    return is_right_to_left(" ".join(caption.words))


def _panels(image: Image.Image, caption: Caption) -> list[Panel]:
    thumbnail, right_to_left = _thumbnail(image), _runs_right_to_left(caption)
    panels = [(thumbnail, "")]
    for word, attention, log_prob in zip(caption.words, caption.attention, caption.word_log_probs, strict=True):
        outside = 1 - float(attention.sum())
        elsewhere = f"\nelsewhere {outside:.0%}" if outside > MIN_ELSEWHERE else ""
        panels.append(
            (spotlight(thumbnail, attention), f"{with_mark(word, right_to_left)}  {_probability(log_prob)}{elsewhere}")
        )
    return panels


def _probability(log_prob: float) -> str:
    return "< 0.01" if log_prob < math.log(0.005) else f"{math.exp(log_prob):.2f}"


def _thumbnail(image: Image.Image) -> Image.Image:
    scale = PANEL / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _sheet(rows: Sequence[Sequence[Panel]], right_to_left: bool) -> Image.Image:
    """Panels of equal size in rows, on white. A column is as wide as a panel or its labels, but at most PANEL."""
    labels = [line for row in rows for _, label in row for line in label.split("\n")]
    lettering = Lettering.of(labels, _TEXT, right_to_left)
    first = rows[0][0][0]
    lines = max(label.count("\n") + 1 for row in rows for _, label in row)
    widest = math.ceil(max(map(lettering.width, labels))) + 2
    width, height = max(first.width, min(PANEL, widest)) + MARGIN, first.height + _LINE * lines + MARGIN
    sheet = Image.new("RGB", (max(map(len, rows)) * width + MARGIN, len(rows) * height + MARGIN), "white")
    for r, row in enumerate(rows):
        for c, (panel, label) in enumerate(row):
            left, top = MARGIN + c * width, MARGIN + r * height
            if right_to_left:
                left = sheet.width - left - panel.width
            sheet.paste(panel, (left, top))
            edge = left + panel.width - 2 if right_to_left else left + 2
            _draw_label(sheet, (edge, top + first.height + 2), label, lettering, width - MARGIN - 2)
    return sheet


def _draw_label(sheet: Image.Image, point: tuple[int, int], label: str, lettering: Lettering, width: int) -> None:
    """Draws the lines of a label, which start at ``point``: at its right where the lettering runs to the left."""
    edge, top = point
    for n, line in enumerate(label.split("\n")):
        fitting, text = lettering.fitted(line, width)
        left = edge - fitting.width(text) if lettering.right_to_left else edge
        fitting.draw(sheet, (left, top + n * _PITCH), text, "black")
