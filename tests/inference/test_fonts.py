"""Which font a text is drawn with, and what is said where none has its letters."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.inference.scripts import EAST_ASIAN, WORDS
from wordgaze.inference import fonts
from wordgaze.inference.fonts import FONT_PACKAGES, find_typeface, is_plain, romanized

CACHES = [each for each in vars(fonts).values() if hasattr(each, "cache_clear")]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing that was found with other fonts is remembered, now and afterwards; the system has no font."""
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    for each in CACHES:
        each.cache_clear()
    yield monkeypatch
    for each in CACHES:
        each.cache_clear()


@pytest.mark.parametrize("name", WORDS)
def test_the_font_package_has_one_font_for_the_word(name: str, fresh: pytest.MonkeyPatch) -> None:
    assert find_typeface(WORDS[name])


@pytest.mark.parametrize("name", EAST_ASIAN)
def test_the_extra_has_the_scripts_of_east_asia(name: str, fresh: pytest.MonkeyPatch) -> None:
    pytest.importorskip(FONT_PACKAGES[1], reason="wordgaze[fonts] is not installed")
    assert find_typeface(EAST_ASIAN[name])


def test_english_alone_is_plain() -> None:
    assert is_plain("it’s a cat, 0.93 (12%)")
    assert not is_plain("Bär")


def test_a_script_without_a_font_is_romanized_and_said_once(
    fresh: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.setattr(fonts, "FONT_PACKAGES", ("no_such_fonts", "no_such_fonts"))
    with caplog.at_level(logging.WARNING):
        assert [find_typeface(word) for word in ("草地", "ねこ", "ཞི")] == [None] * 3
        assert (romanized("草地"), romanized("草"), romanized("ねこ"), romanized("\U000e0fff")) == (
            "CaoDe", "Cao", "neko", "U+E0FFF",
        )  # fmt: skip
        assert romanized("ཞི").isascii()
        assert romanized("बिल्ली") == "billi"
        assert romanized("👋🏽🇩🇪") == ":wave:U+1F3FDDE"
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        'no font has the script CJK: its words are drawn in Latin letters; pip install "wordgaze[fonts]"'
    )
    assert [line.split(":")[0].split()[-1] for line in lines] == ["CJK", "HIRAGANA", "emoji", "TIBETAN", "DEVANAGARI"]
    assert "such as Noto Emoji, where" in lines[2]
    assert lines[3].endswith("install a font that has it, such as Noto Sans Tibetan, where the system keeps its fonts")


def test_a_font_of_the_system_is_used_where_no_package_has_the_letters(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [source] = [path for path in Path(str(fonts.files(FONT_PACKAGES[0]))).iterdir() if "Devanagari" in path.name]
    (tmp_path / "sub").mkdir()
    for name in ("sub/Some.TTF", "LastResort.otf"):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    (tmp_path / "Empty.otf").write_bytes(b"")
    fresh.setattr(fonts, "FONT_PACKAGES", ())
    assert find_typeface("बिल्ली") is None
    for each in CACHES:
        each.cache_clear()
    fresh.setattr(fonts, "SYSTEM_FOLDERS", (str(tmp_path / "missing"), str(tmp_path)))
    assert find_typeface("बिल्ली")
    assert [path.name for path in fonts._system_files()] == ["Broken.ttf", "Empty.otf", "Some.TTF"]
