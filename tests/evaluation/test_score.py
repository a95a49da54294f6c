"""``wordgaze score``: captions from any system, against any references."""

import json
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.errors import CaptionsError
from wordgaze.evaluation.score import score_files
from wordgaze.metrics.captions import score_captions
from wordgaze.text.tokenizer import tokenize

TRUTHS = {
    str(i): [f"A dog number {i} runs over the grass.", f"The dog, no {i}, is on grass!", "A dog's outside"]
    for i in range(12)
}
SAID = {i: f"A dog number {i} runs outside ." for i in TRUTHS}
OTHER = dict.fromkeys(TRUTHS, "a man rides a bike")


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolkit's METEOR takes seconds, and most of what is tested here has nothing to do with it."""
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda said, references: None)


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


@pytest.mark.usefixtures("without_java")
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


@pytest.mark.usefixtures("without_java")
def test_the_report_may_be_json(tmp_path: Path, references: Path) -> None:
    path = tmp_path / "report.json"
    report = score_files(written(tmp_path / "mine.json", SAID), references, html=path)
    assert json.loads(path.read_text())["decoding"]["mine"] == pytest.approx(report["decoding"]["mine"])


def test_captions_of_pictures_that_the_references_lack_are_refused(tmp_path: Path, references: Path) -> None:
    mine = written(tmp_path / "mine.json", {**SAID, "99": "a cat"})
    with pytest.raises(CaptionsError, match="99"):
        score_files(mine, references)


@pytest.mark.usefixtures("without_java")
@pytest.mark.parametrize(("examples", "shown"), [(6, 12), (5, 10), (0, 0)])
def test_the_page_shows_the_best_and_the_worst_or_all(
    tmp_path: Path, references: Path, examples: int, shown: int
) -> None:
    said = {i: text if int(i) % 2 else "a man rides a bike" for i, text in SAID.items()}
    page = tmp_path / "report.html"
    score_files(written(tmp_path / "mine.json", said), references, html=page, examples=examples)
    text = page.read_text(encoding="utf-8")
    assert text.count('<article class="card') == shown
    assert ("All, the best first" in text) == (shown == 12)
    assert ("Worst captions" in text) == (shown == 10)


@pytest.mark.usefixtures("without_java")
def test_pictures_are_found_by_the_names_that_the_references_know(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": i, "file_name": f"{i:04}.jpg"} for i in (7, 8)],
        "annotations": [{"image_id": i, "caption": f"A dog {i} runs."} for i in (7, 8) for _ in range(2)],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    mine, page, photos = (
        written(tmp_path / "mine.json", {"7": "a dog", "8": "a cat"}),
        tmp_path / "a.html",
        tmp_path / "p",
    )
    photos.mkdir()
    Image.new("RGB", (1000, 500), "red").save(photos / "0007.jpg")
    with pytest.raises(CaptionsError, match=r"p has no picture 0008.jpg; give --pictures the folder"):
        score_files(mine, tmp_path / "coco.json", html=page, pictures=photos)
    assert not page.exists()
    Image.new("RGB", (300, 500), "blue").save(photos / "0008.jpg")
    score_files(mine, tmp_path / "coco.json", html=page, pictures=photos)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert 'width="400" height="200"' in text


@pytest.mark.parametrize("output", [None, "report.json"])
def test_pictures_without_a_page_are_refused(tmp_path: Path, references: Path, output: str | None) -> None:
    html = tmp_path / output if output else None
    with pytest.raises(CaptionsError, match=r"is for a page, and none is written; give --output"):
        score_files(written(tmp_path / "mine.json", SAID), references, html=html, pictures=tmp_path)
    assert not (tmp_path / "report.json").exists()
