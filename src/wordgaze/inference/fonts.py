"""The fonts that text is drawn with: those of installed packages, then those of the system."""

import logging
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import ImageFont

FONT_PACKAGES = ("manimgx_fonts", "manimgx_fonts_cjk")
"""Packages whose files are fonts: the scripts of the world without and with those of East Asia."""

SYSTEM_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
    "~/AppData/Local/Microsoft/Windows/Fonts",
)
_SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
_STYLES = ("italic", "oblique", "bold", "black", "heavy", "light", "thin", "condensed", "mono", "serif")
_BOXES = ("lastresort", "blank", "tofu")  # fonts that have a box, or nothing, for every letter
_OUTLINES = frozenset({"glyf", "CFF ", "CFF2"})  # a font of bitmaps alone cannot be drawn at every size
_IN_EXTRA = frozenset({"CJK", "HANGUL", "HIRAGANA", "KATAKANA", "BOPOMOFO"})
_SYMBOLS = ""  # stands for the script of what is not a letter
_REGULAR = 400

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Typeface:
    """A font that is open; ``font`` is HarfBuzz's, in units of the font, ``units`` per em."""

    font: Any
    units: int

    def has(self, char: str) -> bool:
        return is_ignorable(char) or bool(self.font.get_nominal_glyph(ord(char)))

    def covers(self, text: str) -> bool:
        """Whether the font has a glyph of each character that is visible."""
        return all(map(self.has, text))


def is_ignorable(char: str) -> bool:
    """Whether a character needs no glyph: joiners, direction marks and variation selectors."""
    return unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


@cache
def default_font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, which draws English at ``size`` pixels."""
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return font


@cache
def default_typeface() -> Typeface:
    """Pillow's own font as a typeface, for English where no package has a font."""
    import uharfbuzz

    return _open(uharfbuzz.Blob(default_font(16).font_bytes), 0)


@lru_cache(maxsize=100_000)
def is_plain(text: str) -> bool:
    """Whether Pillow's own font has all letters of ``text``, which is true of English."""
    return text.isascii() or default_typeface().covers(text)


@lru_cache(maxsize=100_000)
def find_typeface(text: str, system: bool = True) -> Typeface | None:
    """The first typeface that has all letters of ``text``: of a package, Pillow's own, or of the system; else None."""
    typefaces = chain(_packaged(), [default_typeface()], _of_system() if system else ())
    return next((typeface for typeface in typefaces if typeface.covers(text)), None)


def romanized(text: str) -> str:
    """``text``, whose letters no font has, in Latin letters or as code points; the first of each script is logged."""
    from anyascii import anyascii

    letters = [char for char in text if not is_ignorable(char) and unicodedata.category(char)[0] != "M"]
    for char in letters:
        is_letter = unicodedata.category(char)[0] == "L"
        _log_missing(unicodedata.name(char, _SYMBOLS).split("-")[0].split()[0] if is_letter else _SYMBOLS)
    return "".join(anyascii(char) or (f"U+{ord(char):04X}" if char in letters else "") for char in text)


@cache
def _log_missing(script: str) -> None:
    if script == _SYMBOLS:
        missing, font = "some symbols, such as emoji: they", "Noto Emoji"
    else:
        missing, font = f"the script {script}: its words", f"Noto Sans {script.capitalize()}"
    advice = (
        'pip install "wordgaze[fonts]"'
        if script in _IN_EXTRA and not _folder(FONT_PACKAGES[1])
        else f"install a font that has it, such as {font}, where the system keeps its fonts"
    )
    _log.warning("no font has %s are drawn in Latin letters; %s", missing, advice)


@cache
def _packaged() -> tuple[Typeface, ...]:
    """The upright fonts of the packages, Noto Sans first and emoji, which have digits too, last."""
    folders = [folder for name in FONT_PACKAGES if (folder := _folder(name))]
    paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    upright = [path for path in paths if "Italic" not in path.name]
    ordered = sorted(upright, key=lambda path: ("Emoji" in path.name, not path.name.startswith("NotoSans[")))
    return tuple(typeface for path in ordered for typeface in _typefaces(path))


def _folder(package: str) -> Path | None:
    try:
        return Path(str(files(package)))
    except ModuleNotFoundError:
        return None


def _of_system() -> Iterator[Typeface]:
    for path in _system_files():
        yield from _typefaces(path)


@cache
def _system_files() -> tuple[Path, ...]:
    """The font files of the system in a fixed order: regular styles first."""
    folders = [folder for name in SYSTEM_FOLDERS if (folder := Path(name).expanduser()).is_dir()]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES]
    paths = [path for path in paths if not any(name in path.name.lower() for name in _BOXES)]
    return tuple(sorted(paths, key=lambda path: sum(style in path.name.lower() for style in _STYLES)))


@cache
def _typefaces(path: Path) -> tuple[Typeface, ...]:
    """The typeface of a file, the first of a collection; none where the file is broken or has bitmaps alone."""
    import uharfbuzz

    try:
        typeface = _open(uharfbuzz.Blob.from_file_path(str(path)), 0)
    except uharfbuzz.HarfBuzzError:
        return ()
    has_outlines = typeface.units and not _OUTLINES.isdisjoint(typeface.font.face.table_tags)
    return (typeface,) if has_outlines else ()


def _open(blob: Any, index: int) -> Typeface:
    import uharfbuzz

    face = uharfbuzz.Face(blob, index)
    font = uharfbuzz.Font(face)
    font.set_variations({"wght": _REGULAR})
    return Typeface(font, face.upem)
