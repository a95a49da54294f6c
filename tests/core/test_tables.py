"""Cells of CSV files that a spreadsheet does not evaluate, and that are read back as they were."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.tables import guard_formula, unguard_formula, write_csv
from wordgaze.data.readers.captions import read_captions

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
STARTS = st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "'", "'=", "''-", "'tis "])


@given(STARTS, TEXT)
def test_a_guarded_text_is_no_formula_and_is_restored(start: str, rest: str) -> None:
    text = start + rest
    guarded = guard_formula(text)
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unguard_formula(guarded) == text


@pytest.mark.parametrize("text", ["", "'", "a dog", "'tis", "''", "a=b", "–1"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert guard_formula(text) == unguard_formula(text) == text


def is_caption(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False


@given(
    st.lists(
        st.tuples(
            st.builds(str.__add__, STARTS, TEXT).map(str.strip).filter(bool),
            st.builds(str.__add__, STARTS, TEXT).map(str.strip).filter(is_caption),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row[0],
    )
)
def test_any_name_and_caption_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "captions.csv"
    columns = ("image", "beam")
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))
    assert read_captions(path) == dict(rows)


def test_numbers_stay_numbers_and_a_carriage_return_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, ["name", "log_prob", "error"], [{"name": "a\rb", "log_prob": -2.5, "error": None}])
    assert path.read_bytes() == b'name,log_prob,error\n"a\rb","-2.5",""\n'
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "log_prob", "error"], ["a\rb", "-2.5", ""]]
