"""The few lines for the terminal."""

from pathlib import Path

import pytest

from tests.inspection.folders import clean_folder, params_of, write_captions
from wordgaze.inspection.check import check_dataset
from wordgaze.inspection.summary import counted_noun, percentage, summary_rows, within


def test_the_lines_say_what_was_found(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data")
    rows = dict(summary_rows(check_dataset(params_of(data), tmp_path / "cache")))
    assert rows["images kept"] == "30 of 30 images and rows"
    assert rows["sizes"] == "96 × 72"
    assert rows["captions"] == "60, 2 per image"
    assert rows["words per caption"] == "7 to 8, 7.5 on average"
    assert rows["languages"] == "English 100%"
    assert rows["scripts"] == "Latin 100%"
    assert rows["splits"].endswith("(assigned by image name)")
    assert rows["duplicates"] == "0 copies of files, 0 pairs of images that look the same"
    assert "left out" not in rows


def test_a_data_set_with_everything_wrong_has_few_lines_too(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 8)
    (data / "photo00.jpg").write_bytes(b"")
    (data / "photo01.jpg").unlink()
    for number in range(9):
        (data / f"unused{number}.jpg").write_bytes((data / "photo02.jpg").read_bytes())
    found = check_dataset(params_of(data), tmp_path / "cache")
    rows = list(summary_rows(found))
    assert len(rows) <= 24
    assert ("without a caption", "9 images, not used") in rows
    assert [value for label, value in rows if label == "left out"] == [
        "1 captions whose image is missing (photo01.jpg)",
        "1 images that cannot be decoded (photo00.jpg: is empty (0 bytes); replace or remove it)",
    ]


def test_without_any_image_the_lines_end_early(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data", 1)
    write_captions(data / "captions.csv", [("else.jpg", "a dog")])
    labels = [label for label, _ in summary_rows(check_dataset(params_of(data), tmp_path / "cache"))]
    assert labels == [
        *["understood"] * labels.count("understood"),
        "images kept",
        "left out",
        "share left out",
        "without a caption",
    ]


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0%"), (0.0001, "under 0.1%"), (0.1234, "12.3%"), (1.0, "100%"), (None, "–")]
)
def test_shares(share: float | None, shown: str) -> None:
    assert percentage(share) == shown


def test_words_for_numbers_and_paths() -> None:
    assert (counted_noun(1, "pair"), counted_noun(0, "pair"), counted_noun(1200, "pair")) == (
        "1 pair",
        "0 pairs",
        "1,200 pairs",
    )
    assert within("/a/b/", "/a/b/c.csv:2: x") == "c.csv:2: x"
    assert within("https://host/b", "https://host/b/c.csv:2: x") == "c.csv:2: x"


def test_a_relative_path_to_the_data_set_leaves_the_names_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_folder(tmp_path / "photos")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rows = dict(summary_rows(check_dataset(params_of(Path("../photos")), tmp_path / "cache")))
    assert rows["understood"].startswith("captions.csv: a table")
