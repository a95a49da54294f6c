"""The output of ``prepare`` is read back, and a broken file is reported in one line with the way out."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json
from wordgaze.data.prepared import Prepared
from wordgaze.text.vocabulary import SPECIAL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        ("train", "b.jpg", "A dog .", "a dog"),
        ("train", "a.jpg", "Cats", "cats"),
        ("train", "b.jpg", "Dog!", "dog"),
    ]
    pd.DataFrame(rows, columns=["split", "image", "raw", "tokens_text"]).to_parquet(tmp_path / "captions.parquet")
    extra = pd.DataFrame([("b.jpg", "two zebras drink")], columns=["image", "tokens_text"])
    extra.to_parquet(tmp_path / "extra_text.parquet")
    write_json(tmp_path / "vocabulary.json", {"words": [*SPECIAL, "a", "dog"]})
    return tmp_path


def test_captions_are_grouped_by_split_and_image(folder: Path) -> None:
    prepared = Prepared.load(folder)
    assert prepared.captions["train"] == {"b.jpg": [["a", "dog"], ["dog"]], "a.jpg": [["cats"]]}
    assert prepared.raw == {"b.jpg": ["A dog .", "Dog!"], "a.jpg": ["Cats"]}
    assert prepared.vocabulary.words == (*SPECIAL, "a", "dog")
    assert prepared.references("train") == (["a.jpg", "b.jpg"], [[["cats"]], [["a", "dog"], ["dog"]]])
    assert prepared.references("train", 1)[0] == ["a.jpg"]
    assert prepared.extra == {"b.jpg": [["two", "zebras", "drink"]]}


def truncated_table(folder: Path) -> Path:
    path = folder / "captions.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    return path


def table_without_a_column(folder: Path) -> Path:
    path = folder / "captions.parquet"
    pd.read_parquet(path).drop(columns="raw").to_parquet(path)
    return path


def table_with_another_split(folder: Path) -> Path:
    path = folder / "captions.parquet"
    pd.read_parquet(path).assign(split="holdout").to_parquet(path)
    return path


def missing_table(folder: Path) -> Path:
    path = folder / "captions.parquet"
    path.unlink()
    return path


def vocabulary_of(content: bytes | None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "vocabulary.json"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "damage",
    [
        missing_table,
        truncated_table,
        table_without_a_column,
        table_with_another_split,
        *(
            vocabulary_of(content)
            for content in (None, b"{", b"\xff", b"[]", b"{}", b'{"words": [1]}', b'{"words": ["a"]}')
        ),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(folder: Path, damage: Callable[[Path], Path]) -> None:
    path = damage(folder)
    with pytest.raises(DataError) as caught:
        Prepared.load(folder)
    assert str(caught.value).startswith(f"{path} ")
    assert "run dvc repro" in str(caught.value)
    assert "\n" not in str(caught.value)
