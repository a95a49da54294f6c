"""The table of captions is written and read in parts."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.data import caption_table
from wordgaze.data.caption_table import caption_parts, write_caption_table
from wordgaze.data.contracts import check, check_parts
from wordgaze.data.preparation import TokenizedCaption
from wordgaze.data.records import SPLITS, Split


def captions(count: int, several: bool = False) -> Iterator[TokenizedCaption]:
    for number in range(count):
        split: Split = SPLITS[number // 2 % 3]
        if several and number == count - 1:
            split = SPLITS[(number // 2 + 1) % 3]
        text = f"A  dog {number} ."
        yield TokenizedCaption(f"{number // 2}.jpg", split, number % 2, text, ("a", "dog", str(number)))


def test_a_table_in_parts_is_that_of_all_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_caption_table(tmp_path / "whole.parquet", captions(25), 2)
    monkeypatch.setattr(caption_table, "PART_ROWS", 4)
    counts = write_caption_table(tmp_path / "parts.parquet", captions(25), 2)
    assert counts == whole
    assert pd.read_parquet(tmp_path / "parts.parquet").equals(pd.read_parquet(tmp_path / "whole.parquet"))
    parts = list(caption_parts(tmp_path / "parts.parquet", counts))
    assert [len(part) for part in parts] == [4] * 6 + [1]
    assert list(parts[0]["raw"][:2]) == ["A dog 0 .", "A dog 1 ."]
    assert {tuple(part["splits_of_image"].unique()) for part in parts} == {(1,)}
    assert (counts.num_captions, counts.num_tokens, counts.num_train, counts.num_cut) == (25, 75, 9, 9)
    assert counts.num_images() == {"train": 5, "dev": 4, "test": 4}
    assert counts.words["dog"] == 9
    assert check_parts("captions", iter(parts)).to_json() == check("captions", pd.concat(parts)).to_json()


def test_an_image_in_two_splits_is_found_across_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_table, "PART_ROWS", 5)
    counts = write_caption_table(tmp_path / "table.parquet", captions(12, several=True), 20)
    table = pd.concat(caption_parts(tmp_path / "table.parquet", counts))
    assert table.loc[table["splits_of_image"] == 2, "image"].tolist() == ["5.jpg", "5.jpg"]


def test_without_captions_there_is_no_table(tmp_path: Path) -> None:
    counts = write_caption_table(tmp_path / "table.parquet", iter(()), 20)
    assert counts.num_images() == dict.fromkeys(SPLITS, 0)
    assert not (tmp_path / "table.parquet").exists()


def test_the_memory_of_writing_hardly_grows_with_the_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_table, "PART_ROWS", 250)

    def peak(count: int) -> int:
        tracemalloc.start()
        write_caption_table(tmp_path / "table.parquet", captions(count), 20)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    few = peak(500)
    assert (peak(8_000) - few) / 7_500 < 150  # of which every caption has a word of its own: 100
