"""What very few pictures lead to is reported with the way out."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.config.params import Params, PrepareParams
from wordgaze.core import paths
from wordgaze.core.errors import ContractError, DataError
from wordgaze.data.records import Record, Split, write_records
from wordgaze.stages import prepare


@pytest.fixture(autouse=True)
def nothing_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def untracked(*_: object) -> Iterator[None]:
        yield

    def not_here(name: str, _: object) -> None:
        raise ContractError(f"{name} is checked elsewhere")

    monkeypatch.setattr(prepare, "stage_run", untracked)
    monkeypatch.setattr(prepare, "check", not_here)
    monkeypatch.chdir(tmp_path)


def run(splits: list[Split], min_count: int = 1) -> None:
    records = [Record(f"{n}.jpg", (f"a dog runs {n}",), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    prepare.run(Params(prepare=PrepareParams(min_count=min_count)))


def test_a_split_without_pictures_is_reported_with_the_numbers() -> None:
    with pytest.raises(DataError, match=r"no image with words \(train 2, dev 0, test 1\); add images, raise") as caught:
        run(["train", "train", "test"])
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_words_is_reported_with_the_parameter() -> None:
    with pytest.raises(DataError, match=r"no word occurs prepare.min_count = 3 times .* 2 training images; lower"):
        run(["train", "train", "dev", "test"], min_count=3)


def test_a_caption_with_a_line_separator_does_not_stop_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 5: one caption with U+2028 or U+0085 made every run of prepare fail."""
    tables: list[pd.DataFrame] = []

    def keep(name: str, table: pd.DataFrame) -> None:
        tables.append(table)
        raise ContractError("checked elsewhere")

    monkeypatch.setattr(prepare, "check", keep)
    splits: list[Split] = ["train", "train", "dev", "test"]
    records = [Record(f"{n}.jpg", ("a dog\u2028runs", "a\x85cat"), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    with pytest.raises(ContractError):
        prepare.run(Params(prepare=PrepareParams(min_count=1)))
    assert tables[0]["tokens_text"].tolist() == ["a dog runs", "a cat"] * 4


def test_a_vocabulary_of_few_words_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    splits: list[Split] = [*("train" for _ in range(20)), "dev", "test"]
    with caplog.at_level(logging.WARNING), pytest.raises(ContractError):
        run(splits)
    assert caplog.text == ""
    with pytest.raises(ContractError):
        run(["train", "train", "train", "dev", "test"], min_count=3)
    assert caplog.text == ""  # 9 of 12 tokens are known
    records = [Record(f"{n}.jpg", (f"dog {n} {n + 100}",), split) for n, split in enumerate(splits)]
    write_records(paths.RAW / "captions.jsonl", records)
    with pytest.raises(ContractError):
        prepare.run(Params(prepare=PrepareParams(min_count=3)))
    assert "has 1 of 41 words, 33 % of the training tokens; lower prepare.min_count = 3" in caplog.text
