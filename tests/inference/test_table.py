"""Captions as a table in a file."""

import csv
import json
import math
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions import read_captions
from wordgaze.inference.table import Row, unique_names, write_table

TABLE = [
    Row("=1+1.jpg", "@a dog", -2.5, 0.1, None, b"jpeg"),
    Row("b, c.jpg", error='-"broken"'),
    Row("Zürich 犬.jpg", "a cat", -1.0, 0.25, confidence=0.75, is_outlier=True, path="zoo/Zürich 犬.jpg"),
]


def test_a_table_holds_the_rows_as_they_are(tmp_path: Path) -> None:
    columns = ["name", "caption", "log_prob", "probability", "confidence", "is_outlier", "error"]
    wanted = [{name: getattr(row, name) for name in columns} for row in TABLE]
    write_table(TABLE, tmp_path / "t.jsonl")
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text("utf-8").splitlines()] == wanted
    write_table(iter(TABLE), tmp_path / "t.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist() == wanted
    write_table([], tmp_path / "none.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").column_names == columns


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == ["name", "caption", "log_prob", "probability", "confidence", "is_outlier", "error"]
    assert found == [
        ["'=1+1.jpg", "'@a dog", "-2.5", "0.1", "", "", ""],
        ["b, c.jpg", "", "", "", "", "", '\'-"broken"'],
        ["Zürich 犬.jpg", "a cat", "-1.0", "0.25", "0.75", "True", ""],
    ]


def test_a_table_of_another_kind_is_refused_and_a_failed_one_leaves_the_old(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"end it with .csv, .jsonl, .parquet"):
        write_table(TABLE, tmp_path / "t.xlsx")
    write_table(TABLE, tmp_path / "t.jsonl")
    before = (tmp_path / "t.jsonl").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_table([Row("a", "b", math.nan)], tmp_path / "t.jsonl")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("t.jsonl", before)]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_can_be_scored(tmp_path: Path, name: str) -> None:
    write_table([Row("a.jpg", "a dog, and a cat", -1.0, 0.3), Row("b.jpg", "two men", -1.0, 0.3)], tmp_path / name)
    assert read_captions(tmp_path / name) == {"a.jpg": "a dog, and a cat", "b.jpg": "two men"}


@pytest.mark.parametrize("name", ["=1+1.jpg", "'=1+1.jpg", "-a.jpg", "a\rb.jpg", "a\nb.jpg"])
def test_any_file_name_survives_the_way_to_the_scores(tmp_path: Path, name: str) -> None:
    write_table([Row(name, "a dog", -1.0, 0.3), Row("b.jpg", "two men", -1.0, 0.3)], tmp_path / "t.csv")
    assert read_captions(tmp_path / "t.csv") == {name: "a dog", "b.jpg": "two men"}


def test_names_tell_pictures_of_one_file_name_apart() -> None:
    paths = ["a/0.jpg", "b/0.jpg", "x/a/0.jpg", "b/1.jpg", "0.jpg", "/data/a/2.jpg", "other/a/2.jpg"]
    names = unique_names(paths)
    assert list(map(names, paths)) == [
        "a/0.jpg",
        "b/0.jpg",
        "x/a/0.jpg",
        "1.jpg",
        "0.jpg",
        "data/a/2.jpg",
        "other/a/2.jpg",
    ]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), unique=True, max_size=12))
def test_no_two_pictures_have_one_name_and_each_is_found_by_its_own(paths: list[str]) -> None:
    names = unique_names(paths)
    assert len(set(map(names, paths))) == len(paths)
    assert all(path.endswith(names(path)) for path in paths)
