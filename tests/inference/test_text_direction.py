"""Where text runs from right to left, and how a line of both directions stands on the picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.inference.text_direction import embedding_levels, is_right_to_left, visual_order, with_mark

ARABIC, HEBREW = "قطة", "חתול"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", False),
        (f"a {ARABIC}", False),
        (ARABIC, True),
        (f"3 . {HEBREW} DVD", True),
        ("", False),
        ("12 !", False),
    ],
)
def test_the_first_letter_decides_the_direction(text: str, expected: bool) -> None:
    assert is_right_to_left(text) is expected


def shown(line: str, right_to_left: bool) -> str:
    return "".join(visual_order(line, embedding_levels(line, right_to_left)))


def test_a_line_of_both_directions_stands_as_it_is_read() -> None:
    assert shown("a cat", False) == "a cat"
    assert shown("אב גד 12 xy", True) == "xy 12 דג בא"
    assert shown("xy אב גד z", False) == "xy דג בא z"
    assert shown("אבג one two דה", True) == "הד one two גבא"


def test_a_number_behind_a_word_stays_behind_it() -> None:
    assert shown(with_mark(HEBREW, False) + " 0.93", False).replace("\u200e", "") == HEBREW[::-1] + " 0.93"
    assert shown(with_mark("DVD", True) + " 0.93", True).replace("\u200f", "") == "0.93 DVD"
    assert with_mark("cat", False) == "cat"


@given(
    st.text(alphabet=st.sampled_from("a1 .אجة\u200c\u200d\u200f\u202b\u202c\u2067\u2069\u0301\u0378"), max_size=12),
    st.booleans(),
)
def test_every_character_has_a_level_and_none_is_lost(line: str, right_to_left: bool) -> None:
    levels = embedding_levels(line, right_to_left)
    assert len(levels) == len(line) and min(levels, default=0) >= 0
    assert sorted(visual_order(line, levels)) == sorted(line)
