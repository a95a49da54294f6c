"""Records are read back as written; splits are by image, independent of the other images and not empty if possible."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import CaptionsError
from wordgaze.data.records import Box, Record, assign_splits, read_records, write_records

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n"
"""Everything at which str.splitlines ends a line."""


def records(count: int) -> list[Record]:
    return [Record(f"{number}.jpg", ("a dog",)) for number in range(count)]


def test_a_picture_s_split_does_not_depend_on_the_others() -> None:
    few, many = assign_splits(records(300), 0.1, 0.2), assign_splits(records(900), 0.1, 0.2)
    assert few == many[:300]
    shares = {split: count / 900 for split, count in Counter(record.split for record in many).items()}
    assert abs(shares["dev"] - 0.1) < 0.04 and abs(shares["test"] - 0.2) < 0.04


def test_a_split_that_is_given_stays() -> None:
    given_ones = [Record("a", ("x",), "dev"), Record("b", ("x",), "dev"), Record("c", ("x",), "train")]
    assert assign_splits(given_ones, 0.1, 0.1) == given_ones


@given(st.integers(3, 30), st.sampled_from([0.01, 0.1, 0.45]), st.sampled_from([0.01, 0.1, 0.45]))
def test_of_three_pictures_or_more_every_split_has_one(count: int, dev: float, test: float) -> None:
    found = assign_splits(records(count), dev, test)
    assert {record.split for record in found} == {"train", "dev", "test"}
    assert [record.image for record in found] == [record.image for record in records(count)]
    assert {r.image: r.split for r in assign_splits(records(count)[::-1], dev, test)} == {
        r.image: r.split for r in found
    }


def test_a_share_of_nothing_is_nothing() -> None:
    assert {record.split for record in assign_splits(records(50), 0.0, 0.2)} == {"train", "test"}


def test_two_pictures_do_not_make_three_splits() -> None:
    assert len(assign_splits(records(2), 0.1, 0.1)) == 2


def test_a_caption_with_any_line_separator_is_read_back(tmp_path: Path) -> None:
    """Fault 5: a caption with U+2028 or U+0085 was read as two broken lines."""
    records = [
        Record(f"{n}.jpg", (f"a dog{mark}runs",), "train", (Box("dog", (0, 1, 2, 3)),))
        for n, mark in enumerate(SEPARATORS)
    ]
    write_records(tmp_path / "captions.jsonl", records)
    assert read_records(tmp_path / "captions.jsonl") == records


@given(caption=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, caption: str) -> None:
    path = tmp_path_factory.getbasetemp() / "captions.jsonl"
    write_records(path, [Record("a.jpg", (caption,)), Record("b.jpg", ())])
    assert read_records(path) == [Record("a.jpg", (caption,)), Record("b.jpg", ())]


def test_no_records_are_an_empty_file(tmp_path: Path) -> None:
    write_records(tmp_path / "captions.jsonl", [])
    assert read_records(tmp_path / "captions.jsonl") == []


@pytest.mark.parametrize("line", ["", "{", "[]", "1", '"text"', "{}", '{"objects": [{"noun": "dog"}], "captions": []}'])
def test_a_line_that_is_not_a_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "captions.jsonl"
    write_records(path, [Record("a.jpg", ("a dog",))])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(CaptionsError, match=r"captions\.jsonl:2 is not a record .*; run dvc repro") as caught:
        read_records(path)
    assert "\n" not in str(caught.value)


def test_records_that_are_missing_or_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    with pytest.raises(CaptionsError, match=r"captions\.jsonl is missing; run dvc repro download"):
        read_records(path)
    path.write_bytes(json.dumps({"image": "é"}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(CaptionsError, match=r"captions\.jsonl is not UTF-8"):
        read_records(path)
