"""Draws text of any script: each word in a font that has its letters, shaped, in its direction.

The texts of a picture that are all English are drawn by Pillow in its own font. For all else HarfBuzz chooses and
places the glyphs, because Pillow neither joins Arabic letters nor forms the clusters of Indic scripts where fribidi is
not installed.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import groupby
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageDraw

from wordgaze.inference.fonts import (
    Typeface,
    default_font,
    default_typeface,
    find_typeface,
    is_ignorable,
    is_plain,
    romanized,
)
from wordgaze.inference.text_direction import embedding_levels, visual_order

Anchor = Literal["la", "lm"]  # what the given point is: the left end at the top of the line, or at its middle
_COMMON = frozenset({"", "Zyyy", "Zinh", "Zzzz"})  # scripts of characters that are used with any other
_MIN_SIZE = 9  # pixels, the smallest letters of a line that is made to fit


class Glyph(NamedTuple):
    """A glyph of a typeface, with its place on the line: pixels from the left end and above the baseline."""

    typeface: Typeface
    id: int
    x: float
    y: float


@dataclass(frozen=True)
class ShapedLine:
    """The glyphs of a line from left to right, and its width in pixels."""

    glyphs: tuple[Glyph, ...]
    width: float


class _Run(NamedTuple):
    """A part of a line with one typeface, script and level of direction."""

    text: str
    typeface: Typeface
    script: str
    level: int


@dataclass(frozen=True)
class Lettering:
    """How the lines of one picture are drawn, at ``size`` pixels, so that all of them look alike.

    ``language`` is ``ja`` or ``ko`` where the picture has letters of Japanese or Korean, whose Han characters differ.
    ``plain`` lines are English, and drawn by Pillow.
    """

    size: int
    right_to_left: bool = False
    language: str = ""
    plain: bool = False

    @classmethod
    def of(cls, texts: Iterable[str], size: int, right_to_left: bool = False) -> "Lettering":
        """The lettering for all ``texts`` of a picture."""
        everything = "".join(texts)
        return cls(size, right_to_left, _language_of(everything), is_plain(everything))

    def width(self, line: str) -> float:
        """The width of a line in pixels."""
        return default_font(self.size).getlength(line) if self.plain else self.shape(line).width

    def shape(self, line: str) -> ShapedLine:
        """The glyphs of a line; letters that no font has are replaced by Latin letters, and logged once per script."""
        return _shape(line, self)

    def draw(self, image: Image.Image, point: tuple[float, float], line: str, fill: str, anchor: Anchor = "la") -> None:
        """Draws a line on an RGB image."""
        if self.plain:
            ImageDraw.Draw(image).text(point, line, fill=fill, font=default_font(self.size), anchor=anchor)
            return
        ascent, descent = default_font(self.size).getmetrics()
        baseline = point[1] + (ascent if anchor == "la" else (ascent - descent) / 2)
        _draw_glyphs(image, self.shape(line).glyphs, self.size, (point[0], baseline), fill)

    def fitted(self, line: str, width: float) -> "tuple[Lettering, str]":
        """The lettering and the line that fit into ``width`` pixels: smaller letters, then fewer of them."""
        size = max(_MIN_SIZE, min(self.size, math.floor(self.size * width / max(self.width(line), 1))))
        lettering = replace(self, size=size)
        if lettering.width(line) <= width:
            return lettering, line
        ends = range(len(line) - 1, 0, -1)
        return lettering, next((cut for end in ends if lettering.width(cut := line[:end] + "…") <= width), "…")


@lru_cache(maxsize=1000)
def _shape(line: str, lettering: Lettering) -> ShapedLine:
    text = _drawable(line)
    runs = _runs(text, lettering.right_to_left)
    glyphs: list[Glyph] = []
    x = 0.0
    for run in visual_order(runs, [run.level for run in runs]):
        scale = lettering.size / run.typeface.units
        buffer = _shaped_buffer(run, lettering.language)
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            glyphs.append(Glyph(run.typeface, info.codepoint, x + position.x_offset * scale, position.y_offset * scale))
            x += position.x_advance * scale
    return ShapedLine(tuple(glyphs), x)


def _shaped_buffer(run: _Run, language: str) -> Any:
    import uharfbuzz

    buffer = uharfbuzz.Buffer()
    buffer.add_str(run.text)
    buffer.direction = "rtl" if run.level % 2 else "ltr"
    if run.script not in _COMMON:
        buffer.script = run.script
    buffer.language = language or "zh-hans"
    buffer.guess_segment_properties()
    uharfbuzz.shape(run.typeface.font, buffer)
    return buffer


def _drawable(line: str) -> str:
    """The line in composed form, with plain spaces, and with what no font has in Latin letters."""
    composed = unicodedata.normalize("NFC", line)
    text = "".join(" " if char.isspace() or unicodedata.category(char) == "Cc" else char for char in composed)
    parts = [(cluster, find_typeface(cluster) is not None) for cluster in _clusters(text)]
    grouped = ((has, "".join(cluster for cluster, _ in group)) for has, group in groupby(parts, lambda part: part[1]))
    return "".join(part if has else romanized(part) for has, part in grouped)


def _clusters(text: str) -> Iterator[str]:
    """Letters with their marks, which must be of one font; joiners bind what stands on both of their sides."""
    cluster = ""
    for char in text:
        is_bound = unicodedata.category(char)[0] == "M" or is_ignorable(char) or "\U0001f3fb" <= char <= "\U0001f3ff"
        if cluster and not is_bound and not cluster.endswith("\u200d"):
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _runs(text: str, right_to_left: bool) -> list[_Run]:
    typefaces = _typefaces_of(text)
    keys = list(zip(typefaces, _scripts_of(text), embedding_levels(text, right_to_left), strict=True))
    runs, start = [], 0
    for key, group in groupby(keys):
        end = start + len(list(group))
        runs.append(_Run(text[start:end], *key))
        start = end
    return runs


def _typefaces_of(text: str) -> list[Typeface]:
    words = ("".join(group) for _, group in groupby(text, str.isspace))
    return [typeface for word in words for typeface in _typefaces_of_word(word)]


def _typefaces_of_word(word: str) -> list[Typeface]:
    """One typeface for all characters if there is one, else one for each cluster; those of packages come first."""
    clusters = list(_clusters(word))
    for parts, system in (([word], False), (clusters, False), ([word], True), (clusters, True)):
        found = [typeface for part in parts if (typeface := find_typeface(part, system))]
        if len(found) == len(parts):
            return [typeface for part, typeface in zip(parts, found, strict=True) for _ in part]
    return [default_typeface()] * len(word)


def _scripts_of(text: str) -> list[str]:
    """The script of each character; punctuation and digits have that of the letters before, or else after, them."""
    scripts: list[str] = []
    for char in text:
        script = _script(char)
        scripts.append(script if script not in _COMMON else scripts[-1] if scripts else "")
    first = next(filter(None, scripts), "")
    return [script or first for script in scripts]


@cache
def _script(char: str) -> str:
    import uharfbuzz

    buffer = uharfbuzz.Buffer()
    buffer.add_str(char)
    buffer.guess_segment_properties()
    return buffer.script or ""


def _language_of(text: str) -> str:
    names = [unicodedata.name(char, "") for char in text if not char.isascii()]
    if any(name.startswith(("HIRAGANA", "KATAKANA")) for name in names):
        return "ja"
    return "ko" if any(name.startswith("HANGUL") for name in names) else ""


def _draw_glyphs(
    image: Image.Image, glyphs: Sequence[Glyph], size: int, origin: tuple[float, float], fill: str
) -> None:
    """Draws glyphs whose line starts at ``origin``, the left end of the baseline."""
    import uharfbuzz

    pen = uharfbuzz.RasterDraw()
    for glyph in glyphs:
        scale = size / glyph.typeface.units
        pen.transform = (scale, 0, 0, scale, origin[0] % 1 + glyph.x, glyph.y)
        pen.draw_glyph(glyph.typeface.font, glyph.id)
    ink = pen.render()
    if ink is None or not ink.extents.width or not ink.extents.height:
        return
    area = ink.extents
    mask = Image.frombuffer("L", (area.width, area.height), ink.buffer, "raw", "L", area.stride, -1)
    corner = math.floor(origin[0]) + area.x_origin, round(origin[1]) - area.y_origin - area.height
    image.paste(fill, (*corner, corner[0] + area.width, corner[1] + area.height), mask)
