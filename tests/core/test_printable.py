"""No name breaks or reorders a line of the terminal."""

import os
import sys
from pathlib import Path

import pytest

from wordgaze.core.printable import count_noun, escaped, printable, printable_row


@pytest.mark.parametrize("text", ["a dog.jpg", "Zürich 犬.jpg", "3.14.07\u202fPM.png", "👩\u200d🚀.jpg", ""])
def test_ordinary_text_is_kept(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("unsafe", ["\n", "\r", "\t", "\x1b", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028", "\udce9"])
def test_what_could_break_or_reorder_the_line_is_replaced(unsafe: str) -> None:
    assert printable(f"a{unsafe}b.jpg") == "a�b.jpg"


@pytest.mark.skipif(sys.platform == "win32", reason="its file names are Unicode")
def test_case_file_name_not_utf8_is_text_with_the_bytes() -> None:
    assert escaped(os.fsdecode(b"caf\xe9\xff.jpg")) == "caf\\xe9\\xff.jpg"
    assert escaped(Path("x/caf\u00e9.jpg")) == "x/caf\u00e9.jpg"
    assert escaped("half \ud83d of a pair") == "half \\ud83d of a pair"


def test_a_row_has_its_columns_and_no_others() -> None:
    assert printable_row("a dog\tforged", "a\ncat", "\x1b[2J") == "a dog\ufffdforged\ta\ufffdcat\t\ufffd[2J"


def test_a_number_agrees_with_its_noun() -> None:
    assert [count_noun(n, "image") for n in (0, 1, 2, 1000)] == ["0 images", "1 image", "2 images", "1,000 images"]
