"""The contracts of the hand-overs: good tables pass, each kind of breach is reported with its rows, reports are stable."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from wordgaze.core.errors import ContractError
from wordgaze.data import contracts
from wordgaze.text.vocabulary import SPECIAL

CONTRACTS = contracts.CONTRACTS


def records() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": ["a.jpg", "b b.JPEG", "ç.avif", "d"],
            "split": ["train", "dev", "test", None],
            "captions": [5, 1, 1000, 2],
            "width": [1, 640, 500, 3],
            "height": [1, 480, 375, 4],
        }
    )


def captions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": ["a.jpg", "a.jpg", "b.jpg", "c.jpg"],
            "caption_id": [0, 1, 0, 0],
            "split": ["train", "train", "dev", "test"],
            "splits_of_image": 1,
            "raw": ["A dog runs .", "Dogs !", "A cat .", "Two birds ."],
            "tokens_text": ["a dog runs", "dogs", "a cat", ""],
            "length": [3, 1, 2, 2],
        }
    )


def vocabulary() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "word": [*SPECIAL, "a", "dog's", "été"],
            "index": range(7),
            "count": [0, 0, 0, 0, 40, 9, 5],
            "least_count": [0, 0, 0, 0, 5, 5, 5],
        }
    )


def features() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": ["a.jpg", "b.jpg", "c.jpg"],
            "shard": [0, 0, 1],
            "row": [0, 1, 0],
            "finite": [True, True, True],
            "norm": [0.5, 11.25, 3.0],
        }
    )


GOOD: dict[str, Callable[[], pd.DataFrame]] = {
    "records": records,
    "captions": captions,
    "vocabulary": vocabulary,
    "features": features,
}

Breaches = dict[str, tuple[list[Any], str, str]]

# Each case spoils several columns of a good table, for a check costs 0.2 s.
# column: (its values from the first row on, the expectation that is broken, what else is reported of it)
BREACHES: list[tuple[str, Breaches]] = [
    (
        "records",
        {
            "image": (["a.jpg", "a.jpg"], "column_values_to_be_unique", "in 2 of 4 rows: row 0 (image='a.jpg'"),
            "split": (["val"], "column_values_to_be_in_set", "value_set=['train', 'dev', 'test']"),
            "captions": ([0, 1001], "column_values_to_be_between", "min_value=1, max_value=1000) fails in 2 of 4"),
            "width": ([1, 0], "column_values_to_be_between", "in 1 of 4 rows: row 1 (image='a.jpg'"),
            "height": ([-1], "column_values_to_be_between", "height=-1"),
        },
    ),
    (
        "records",
        {
            "image": (["a.jpg", None], "column_values_to_not_be_null", "in 1 of 4 rows: row 1 ("),
            "captions": ([1.5], "column_values_to_be_of_type", "over 4 rows: observed float64"),
            "width": (["wide"], "column_values_to_be_between", "cannot be evaluated on 4 rows: Column values"),
            "height": ([None], "column_values_to_not_be_null", "height=nan"),
        },
    ),
    (
        "records",
        {
            "image": (
                ["", "up/b.jpg", "up\\c.jpg", "/d.jpg"],
                "column_values_to_match_regex",
                "in 4 of 4 rows: row 0 (image=''",
            )
        },
    ),
    (
        "captions",
        {
            "caption_id": ([1, 1], "compound_columns_to_be_unique", "in 2 of 4 rows: row 0"),
            "split": (["train", "train", "dev", "dev"], "column_distinct_values_to_equal_set", "missing ['test']"),
            "splits_of_image": ([2, 2], "column_values_to_be_in_set", "in 2 of 4 rows: row 0"),
            "raw": ([None], "column_values_to_not_be_null", "raw=nan"),
            "tokens_text": (["a dog", ""], "column_value_lengths_to_be_between", "in 1 of 4 rows: row 1"),
            "length": ([0, 1001], "column_values_to_be_between", "in 2 of 4 rows"),
        },
    ),
    (
        "captions",
        {
            "image": ([None], "column_values_to_not_be_null", "image=nan"),
            "caption_id": (["0", "1", "0", "0"], "column_values_to_be_of_type", "observed str"),
            "split": (["train", None], "column_values_to_not_be_null", "row 1 (image='a.jpg'"),
            "raw": ([1, 2, 3, 4], "column_values_to_be_of_type", "observed int64"),
            "tokens_text": ([None], "column_values_to_not_be_null", "'parameter': 'train'"),
            "length": ([1.5], "column_values_to_be_of_type", "observed float64"),
        },
    ),
    ("captions", {"split": (["val"], "column_distinct_values_to_equal_set", "unexpected ['val']")}),
    ("captions", {"split": (["val"], "column_values_to_be_in_set", "in 1 of 4 rows: row 0 (image='a.jpg'")}),
    (
        "vocabulary",
        {
            "word": (["a"], "column_values_to_be_unique", "in 2 of 7 rows: row 0 (word='a', index="),
            "index": ([1, 0], "column_values_to_be_increasing", "in 1 of 7 rows: row 1"),
            "count": ([0] * 6 + [4], "column_pair_values_a_to_be_greater_than_b", "count=4, least_count=5"),
        },
    ),
    (
        "vocabulary",
        {
            "word": ([None], "column_values_to_not_be_null", "word=nan"),
            "index": ([*range(1, 8)], "column_values_to_be_between", "max_value=6) fails in 1 of 7 rows: row 6"),
            "count": ([0.5], "column_values_to_be_of_type", "observed float64"),
        },
    ),
    (
        "vocabulary",
        {
            "word": (
                ["hot dog", "hot\u00a0dog", "dog\n"],
                "column_values_to_not_match_regex",
                "in 3 of 7 rows: row 0 (word='hot dog'",
            ),
            "index": ([0, 0], "column_values_to_be_unique", "in 2 of 7 rows"),
        },
    ),
    (
        "vocabulary",
        {
            "word": ([""], "column_value_lengths_to_be_between", "row 0 (word=''"),
            "index": ([-1], "column_values_to_be_between", "index=-1"),
        },
    ),
    (
        "features",
        {
            "image": (["b.jpg"], "column_values_to_be_unique", "in 2 of 3 rows"),
            "shard": ([-1], "column_values_to_be_between", "shard=-1"),
            "row": ([0, -1], "column_values_to_be_between", "row=-1"),
            "finite": ([True, False], "column_values_to_be_in_set", "in 1 of 3 rows: row 1"),
            "norm": ([0.0], "column_values_to_be_between", "strict_min=True) fails in 1 of 3 rows: row 0"),
        },
    ),
    (
        "features",
        {
            "row": ([0, 0], "compound_columns_to_be_unique", "=['shard', 'row']) fails in 2 of 3 rows: row 0"),
            "finite": ([1, 1, 1], "column_values_to_be_of_type", "observed int64"),
            "norm": ([float("nan")], "column_values_to_not_be_null", "norm=nan"),
        },
    ),
]


def message(name: str, table: pd.DataFrame, folder: Path = CONTRACTS) -> str:
    with pytest.raises(ContractError) as caught:
        contracts.check(name, table, folder)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert str(folder / f"{name}.yaml") in text
    return text


def contract(folder: Path, text: str) -> None:
    (folder / "words.yaml").write_text(f"description: Words.\nexpectations:\n{text}", encoding="utf-8")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_table_passes_and_its_report_names_every_expectation(name: str) -> None:
    table = GOOD[name]()
    report = contracts.check(name, table, CONTRACTS)
    assert (report.name, report.rows) == (name, len(table))
    assert all(expectation["success"] for expectation in report.expectations)
    assert len(report.expectations) == (CONTRACTS / f"{name}.yaml").read_text(encoding="utf-8").count("\n  - ")


@pytest.mark.parametrize(("name", "spoiled"), BREACHES)
def test_a_breach_names_the_expectation_and_the_rows(name: str, spoiled: Breaches) -> None:
    table = GOOD[name]()
    for column, (values, _, _) in spoiled.items():
        table[column] = [*values, *table[column][len(values) :]]
    breaches = message(name, table).split(" is violated: ")[1].split("; ")
    for column, (_, expectation, reported) in spoiled.items():
        assert any(
            breach.startswith(f"{expectation}(") and repr(column) in breach.split(")")[0] and reported in breach
            for breach in breaches
        ), (column, breaches)
    assert "run its stage again" in breaches[-1]


@pytest.mark.parametrize("name", GOOD)
def test_every_column_of_a_contract_is_required(name: str) -> None:
    table = GOOD[name]()
    for column in table.columns:
        assert f"the table has no column {column}, only " in message(name, table.drop(columns=column))


@pytest.mark.parametrize("name", GOOD)
def test_an_empty_table_is_a_breach_of_its_own(name: str) -> None:
    assert "the table has 0 rows" in message(name, GOOD[name]().iloc[:0])


def test_all_breaches_are_reported_with_three_rows_each_and_long_values_cut() -> None:
    table = pd.concat([records()] * 3)  # an index with repetitions: rows are reported by their number
    table["image"] = [f"{i:x}" * 60 + "/a.jpg" for i in range(12)]
    table["width"] = 0
    breaches = message("records", table).split("; ")
    assert ["fails in 12 of 12 rows" in breach for breach in breaches] == [True, True, False]
    for breach in breaches[:2]:
        assert [f"row {i} (image='{i:x}" in breach for i in range(4)] == [True, True, True, False]
        assert "0" * 38 + "…" in breach and "0" * 39 not in breach


def test_the_report_is_the_same_text_each_time() -> None:
    first, second = (contracts.check("vocabulary", vocabulary(), CONTRACTS).to_json() for _ in range(2))
    assert first == second
    assert '"max_value": 6,' in first
    assert first.endswith("}\n")


def test_data_docs_are_a_page_with_the_expectations_in_words(tmp_path: Path) -> None:
    page = contracts.check("captions", captions(), CONTRACTS).data_docs(tmp_path / "docs")
    assert [page] == list((tmp_path / "docs").iterdir())
    html = page.read_text(encoding="utf-8")
    assert page.suffix == ".html"
    assert "values must never be null" in html
    assert "distinct values must match this set" in html


def test_a_check_leaves_no_files_calls_nobody_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[object] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: calls.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: calls.append(address))
    table = records()
    contracts.check("records", table, CONTRACTS)
    assert (list(tmp_path.iterdir()), calls, capfd.readouterr()) == ([], [], ("", ""))
    pd.testing.assert_frame_equal(table, records())


def test_importing_the_module_imports_nothing_slow() -> None:
    code = (
        "import sys, wordgaze.data.contracts; sys.exit(any(n in sys.modules for n in ('great_expectations', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (
            "  - column_to_exist: {column: word}\n  - column_values_to_be_nul: {column: word}\n",
            "expectation 2, column_values_to_be_nul, is not one of great-expectations; did you mean: column_values_to_be_",
        ),
        ("  - column_to_exist: {colum: word}\n", "expectation 1, column_to_exist(colum='word'), has wrong arguments"),
        (
            "  - column_values_to_be_between: {column: count, min_value: {$PARAMETER: columns}}\n",
            "columns; correct it there",
        ),
        ("  - column_to_exist\n", "expectation 1 is 'column_to_exist'; write it as NAME: {ARGUMENTS}"),
        ("  - column_to_exist: [word]\n", "expectation 1 is {'column_to_exist': ['word']}; write it as"),
        ("  []\n", "expectations must be a list of one or more"),
        ("  - [\n", "is not YAML"),
        ("  []\nowner: me\n", "must have a description and expectations, and nothing else"),
    ],
)
def test_a_contract_that_cannot_be_used_is_reported_with_its_file_and_entry(
    tmp_path: Path, text: str, reported: str
) -> None:
    contract(tmp_path, text)
    assert reported in message("words", vocabulary(), tmp_path)


def test_an_unknown_contract_is_reported_with_the_known_ones() -> None:
    assert "the contracts in" in (text := message("pictures", records()))
    assert text.endswith("captions, features, records, vocabulary")


@pytest.mark.parametrize("name", GOOD)
def test_a_table_in_parts_has_the_report_of_the_whole(name: str, tmp_path: Path) -> None:
    table = GOOD[name]()
    parts = (table.iloc[start : start + 2] for start in range(0, len(table), 2))
    found = contracts.check_parts(name, parts)
    assert found.to_json() == contracts.check(name, table).to_json()
    statistics = found.validation.statistics
    assert statistics["successful_expectations"] == statistics["evaluated_expectations"] == len(found.expectations)
    assert found.data_docs(tmp_path).stat().st_size


def test_breaches_in_parts_have_the_message_of_the_whole() -> None:
    table = pd.concat([captions()] * 3, ignore_index=True).assign(
        image=[f"{i}.jpg" for i in range(3 * len(captions()))]
    )
    table.loc[[1, len(table) - 2, len(table) - 1], "length"] = 2000
    table.loc[[0, 3], "raw"] = None
    parts = [table.iloc[start : start + 2] for start in range(0, len(table), 2)]
    with pytest.raises(ContractError) as whole:
        contracts.check("captions", table)
    with pytest.raises(ContractError) as found:
        contracts.check_parts("captions", parts)
    assert str(found.value) == str(whole.value)
    assert f"fails in 3 of {len(table)} rows: row 1 " in str(found.value)


def test_rows_that_repeat_in_other_parts_are_found() -> None:
    table = captions()
    with pytest.raises(ContractError, match=r"compound_columns_to_be_unique.* fails in \d+ of \d+ rows: row 0 \("):
        contracts.check_parts("captions", [table, table])
