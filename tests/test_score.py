"""``wordgaze score``: captions from any system, against any references."""

import json
from pathlib import Path

import pytest

from wordgaze.errors import CaptionsError
from wordgaze.metrics.captions import score_captions
from wordgaze.score import score_files
from wordgaze.text.tokenizer import tokenize

TRUTHS = {
    str(i): [f"A dog number {i} runs over the grass.", f"The dog, no {i}, is on grass!", "A dog's outside"]
    for i in range(12)
}
SAID = {i: f"A dog number {i} runs outside ." for i in TRUTHS}
OTHER = dict.fromkeys(TRUTHS, "a man rides a bike")


@pytest.fixture
def references(tmp_path: Path) -> Path:
    path = tmp_path / "references.jsonl"
    path.write_text("".join(json.dumps({"image": i, "captions": of_one}) + "\n" for i, of_one in TRUTHS.items()))
    return path


def written(path: Path, captions: dict[str, str]) -> Path:
    path.write_text(json.dumps([{"image_id": i, "caption": text} for i, text in captions.items()]))
    return path


def test_the_scores_are_those_of_the_tokenized_captions(tmp_path: Path, references: Path) -> None:
    report = score_files(written(tmp_path / "mine.json", SAID), references)
    expected = score_captions(
        [tokenize(SAID[i]) for i in TRUTHS], [[tokenize(text) for text in TRUTHS[i]] for i in TRUTHS]
    )
    found = report["decoding"]["mine"]
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert report["images"] == 12
    assert report["differences"] is None


def test_two_systems_are_compared_and_the_page_shows_both(tmp_path: Path, references: Path) -> None:
    mine, other = written(tmp_path / "mine.json", SAID), written(tmp_path / "theirs.json", OTHER)
    page = tmp_path / "report.html"
    report = score_files(mine, references, against=other, html=page)
    difference = report["differences"]["mine against theirs"]["cider"]
    assert difference["low"] > 0
    assert difference["p"] < 0.05
    text = page.read_text(encoding="utf-8")
    assert "mine" in text
    assert "theirs" in text
    assert f"{report['decoding']['mine']['cider']:.3f}" in text


def test_the_report_may_be_json(tmp_path: Path, references: Path) -> None:
    path = tmp_path / "report.json"
    report = score_files(written(tmp_path / "mine.json", SAID), references, html=path)
    assert json.loads(path.read_text())["decoding"]["mine"] == pytest.approx(report["decoding"]["mine"])


def test_captions_of_pictures_that_the_references_lack_are_refused(tmp_path: Path, references: Path) -> None:
    mine = written(tmp_path / "mine.json", {**SAID, "99": "a cat"})
    with pytest.raises(CaptionsError, match="99"):
        score_files(mine, references)
