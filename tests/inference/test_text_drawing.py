"""Drawn text has a glyph for each letter, shaped, in its direction, in any script."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.inference.scripts import EAST_ASIAN, WORDS
from wordgaze.inference.fonts import FONT_PACKAGES, default_font
from wordgaze.inference.text_drawing import Lettering


def shaped_glyphs(line: str, right_to_left: bool = False, language: str = "") -> list[int]:
    """The glyphs of a line, from left to right."""
    return [glyph.id for glyph in Lettering(16, right_to_left, language).shape(line).glyphs]


def drawn(line: str, lettering: Lettering | None = None, size: tuple[int, int] = (400, 40)) -> np.ndarray:
    image = Image.new("RGB", size, "white")
    (lettering or Lettering.of([line], 16)).draw(image, (10, 8), line, "black")
    return np.asarray(image.convert("L"))


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_case_words_drawn_as_boxes_every_letter_has_a_glyph(word: str) -> None:
    """The glyph 0 of a font is its empty box."""
    assert 0 not in shaped_glyphs(word)
    assert (drawn(word) < 128).any()


@pytest.mark.parametrize("word", EAST_ASIAN.values(), ids=EAST_ASIAN)
def test_case_words_drawn_as_boxes_east_asia(word: str) -> None:
    pytest.importorskip(FONT_PACKAGES[1], reason="wordgaze[fonts] is not installed")
    assert 0 not in shaped_glyphs(word)
    assert len(set(shaped_glyphs(word))) == len(word)


def test_umlauts_differ_from_one_another_and_from_a_box() -> None:
    pictures = {drawn(word).tobytes() for word in ("Bär", "Bör", "Bür", "Bar", "B□r")}
    assert len(pictures) == 5


def test_composed_and_decomposed_letters_are_drawn_alike() -> None:
    assert np.array_equal(drawn("B\u00e4r"), drawn("Ba\u0308r"))


def test_arabic_letters_are_joined_and_run_to_the_left() -> None:
    joined, alone = shaped_glyphs("قطة", True), [shaped_glyphs(letter, True) for letter in "قطة"]
    assert joined != [glyph for glyphs in reversed(alone) for glyph in glyphs]
    assert joined == shaped_glyphs("قطة", False)
    assert shaped_glyphs("אב", True) == shaped_glyphs("ב") + shaped_glyphs("א")


def test_an_indic_cluster_is_one_glyph_and_a_vowel_stands_before_its_consonant() -> None:
    assert len(shaped_glyphs("क्ष")) == 1
    vowel, consonant = shaped_glyphs("कि")
    assert consonant == shaped_glyphs("क")[0] != vowel


def test_brackets_are_mirrored_where_text_runs_to_the_left() -> None:
    assert shaped_glyphs("(א)", True)[0] == shaped_glyphs("(א", False)[0]


def test_han_characters_have_the_form_of_the_language() -> None:
    pytest.importorskip(FONT_PACKAGES[1], reason="wordgaze[fonts] is not installed")
    assert Lettering.of(["直す"], 16).language == "ja"
    assert Lettering.of(["직진 直"], 16).language == "ko"
    assert Lettering.of(["一直走"], 16).language == ""
    assert shaped_glyphs("直", language="ja") != shaped_glyphs("直")


def test_english_has_the_pixels_of_pillow_alone() -> None:
    expected = Image.new("RGB", (400, 40), "white")
    ImageDraw.Draw(expected).text((10, 8), "a cat, it’s 0.93", fill="black", font=default_font(16))
    assert np.array_equal(drawn("a cat, it’s 0.93"), np.asarray(expected.convert("L")))


def test_the_width_is_that_of_the_ink() -> None:
    for line in ("Bär", "قطة بيضاء", "बिल्ली 0.93", "Bär قطة"):
        columns = (drawn(line) < 200).any(0).nonzero()[0]
        assert abs(columns[-1] + 1 - columns[0] - Lettering.of([line], 16).width(line)) < 4


def test_letters_that_no_font_has_are_drawn_in_latin(monkeypatch: pytest.MonkeyPatch) -> None:
    from wordgaze.inference import fonts

    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    fonts._system_files.cache_clear()
    line = "a \u13e3\u13b3\u13a9"  # Cherokee
    assert np.array_equal(drawn(line), drawn("a TsaLaGi", Lettering.of([line], 16)))


def test_a_line_that_is_too_wide_is_made_smaller_and_then_cut() -> None:
    lettering = Lettering.of(["Donaudampfschifffahrt é"], 16)
    assert lettering.fitted("Donau", 100) == (lettering, "Donau")
    smaller, line = lettering.fitted("Donaudampfschifffahrt", 120)
    assert line == "Donaudampfschifffahrt" and smaller.size < 16 and smaller.width(line) <= 120
    smallest, cut = lettering.fitted("Donaudampfschifffahrt" * 3, 120)
    assert cut.startswith("Donau") and cut.endswith("…") and smallest.width(cut) <= 120


def test_control_characters_and_nothing_are_drawn_as_nothing() -> None:
    assert (drawn("\x00\x1b é")[:, :14] == 255).all()
    for line in ("", " ", "\u200d", "\u00a0"):
        assert (drawn(line, Lettering(16)) == 255).all()
