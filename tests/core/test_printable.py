"""No name breaks or reorders a line of the terminal."""

import pytest

from wordgaze.core.printable import printable


@pytest.mark.parametrize("text", ["a dog.jpg", "Zürich 犬.jpg", "3.14.07\u202fPM.png", "👩\u200d🚀.jpg", ""])
def test_ordinary_text_is_kept(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("unsafe", ["\n", "\r", "\t", "\x1b", "\x9b", "\u202e", "\u2066", "\u200f", "\u2028", "\udce9"])
def test_what_could_break_or_reorder_the_line_is_replaced(unsafe: str) -> None:
    assert printable(f"a{unsafe}b.jpg") == "a�b.jpg"
