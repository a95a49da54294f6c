"""``wordgaze data check``: its options, its lines, its files and its exit code."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Refused, Run, files
from tests.inspection.folders import clean_folder, sentences, write_captions, write_folder


def test_a_clean_folder_is_success_with_lines_and_a_page(run: Run) -> None:
    clean_folder(Path("my photos"))
    code, out, err = run("data", "check", "my photos")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) < 40
    assert "images kept        30 of 30 images and rows" in lines
    assert lines[-1] == "the page is data-check-my-photos.html"
    assert files() == ["data-check-my-photos.html", "my photos"]
    assert "Data check: my photos" in Path("data-check-my-photos.html").read_text(encoding="utf-8")


def test_a_folder_that_the_import_would_refuse_is_a_failure_with_a_page(run: Run) -> None:
    data = clean_folder(Path("photos"), 10)
    (data / "photo00.jpg").write_bytes(b"")
    code, out, _ = run("data", "check", "photos", "-o", "page.html", "--json", "values.json")
    assert code == 1
    assert "stop: photos: 10.00% of 10 images are faulty" in out
    assert json.loads(Path("values.json").read_text(encoding="utf-8"))["stops"] is True
    assert files() == ["page.html", "photos", "values.json"]


def test_captions_that_cannot_be_read_are_one_line_and_no_page(refused: Refused) -> None:
    Path("photos").mkdir()
    assert "no caption file" in refused("data", "check", "photos")
    line = "elsewhere: there is no such file or folder; check the path"
    assert refused("data", "check", "elsewhere") == refused("data", "check", "elsewhere", "--dataset", "coco") == line
    assert files() == ["photos"]
    Path("photos/captions.xlsx").write_bytes(b"PK")
    assert "captions.xlsx is a workbook, which is not read; save its table as CSV" in refused("data", "check", "photos")


def test_the_options_mean_what_the_parameters_mean(run: Run) -> None:
    data = write_folder(
        Path("photos"), {f"{n}.jpg": ["一只狗在沙滩上奔跑着", "两个男人在街上骑自行车"] for n in range(12)}
    )
    write_captions(data / "other.csv", [(f"{n}.jpg", sentences(n)[0]) for n in range(12)])
    code, out, _ = run("data", "check", "photos", "--captions", "captions.csv")
    assert (code, "Most captions are one long word" in out) == (1, True) or "set prepare.tokenizer to characters" in out
    code, out, _ = run("data", "check", "photos", "--captions", "captions.csv", "--tokenizer", "characters")
    assert (code, "Most captions are one long word" in out) == (0, False)
    assert "English 100%" in run("data", "check", "photos", "--captions", "other.csv")[1]


def test_without_a_folder_the_data_set_of_the_parameters_is_checked(run: Run) -> None:
    clean_folder(Path("photos"), 12)
    Path("params.yaml").write_text(
        "dataset: {name: folder, source: photos}\nprepare: {min_count: 7}\n", encoding="utf-8"
    )
    code, out, _ = run("data", "check")
    assert code == 0
    assert "occur 7 times or more in train" in out
    code, out, _ = run("data", "check", "photos")
    assert "occur 7 times or more in train" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "params.yaml is missing; run it in a project, or give FOLDER"),
        (("photos", "--dataset", "imagenet"), "dataset.name"),
        (("photos", "--tokenizer", "none"), "the options: prepare.tokenizer: 'none' is not a tokenizer"),
        (("photos", "--output", "page.html", "--json", "./page.html"), "give them different names"),
        (("photos", "--output", "page.pdf"), "give a name that ends with .html"),
        (("photos", "--dataset", "coco", "--captions", "a.csv"), "captions is for the data set folder"),
    ],
)
def test_wrong_options_are_one_line(refused: Refused, arguments: tuple[str, ...], line: str) -> None:
    clean_folder(Path("photos"), 4)
    assert line in refused("data", "check", *arguments)
    assert files() == ["photos"]


def test_a_terminal_shows_a_table(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_folder(Path("photos"), 12)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    code, out, _ = run("data", "check", "photos")
    assert code == 0
    assert "│ images kept" in out
    assert out.count("\n") < 40


def test_names_that_would_write_to_the_terminal_are_harmless(run: Run) -> None:
    data = write_folder(Path("photos"), {f"{n}.jpg": sentences(n) for n in range(12)})
    rows = [(f"{n}.jpg", sentences(n)[0]) for n in range(12)]
    write_captions(data / "captions.csv", [*rows, ("a\x1b[31mred[bold].jpg", "a dog")])
    out = run("data", "check", "photos")[1]
    assert "\x1b" not in out
    assert "red[bold].jpg" in out
