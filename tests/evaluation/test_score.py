"""``wordgaze score`` and ``wordgaze.score``: captions from any system, against any references."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.errors import CaptionsError, ScoreError
from wordgaze.evaluation.results import ScoredFiles
from wordgaze.evaluation.score import score, score_files
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
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda generated, references: None)


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
    scores = dict(report.summary.scores["mine"].items())
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert report.summary.num_images == 12
    assert report.details.comparisons == ()


@pytest.mark.usefixtures("without_java")
def test_two_systems_are_compared_and_the_page_shows_both(tmp_path: Path, references: Path) -> None:
    mine, other = written(tmp_path / "mine.json", SAID), written(tmp_path / "theirs.json", OTHER)
    page = tmp_path / "report.html"
    report = score_files(mine, references, against=other, output=page)
    [pair] = report.details.comparisons
    assert (pair.system, pair.base) == ("mine", "theirs")
    cider = pair.differences.cider
    assert cider.low is not None and cider.low > 0
    assert cider.p is not None and cider.p < 0.05
    text = page.read_text(encoding="utf-8")
    assert "mine" in text
    assert "theirs" in text
    assert f"{report.summary.scores['mine'].cider:.3f}" in text


@pytest.mark.usefixtures("without_java")
def test_the_report_may_be_json(tmp_path: Path, references: Path) -> None:
    path = tmp_path / "report.json"
    report = score_files(written(tmp_path / "mine.json", SAID), references, output=path)
    loaded = ScoredFiles.load(path).summary.scores["mine"]
    assert dict(loaded.items()) == pytest.approx(dict(report.summary.scores["mine"].items()), abs=1e-6)


def test_captions_of_pictures_that_the_references_lack_are_refused(tmp_path: Path, references: Path) -> None:
    mine = written(tmp_path / "mine.json", {**SAID, "99": "a cat"})
    with pytest.raises(CaptionsError, match="99"):
        score_files(mine, references)


@pytest.mark.usefixtures("without_java")
@pytest.mark.parametrize(("examples", "shown"), [(6, 12), (5, 10), (0, 0)])
def test_the_page_shows_the_best_and_the_worst_or_all(
    tmp_path: Path, references: Path, examples: int, shown: int
) -> None:
    generated = {i: text if int(i) % 2 else "a man rides a bike" for i, text in SAID.items()}
    page = tmp_path / "report.html"
    score_files(written(tmp_path / "mine.json", generated), references, output=page, num_examples=examples)
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
        score_files(mine, tmp_path / "coco.json", output=page, pictures=photos)
    assert not page.exists()
    Image.new("RGB", (300, 500), "blue").save(photos / "0008.jpg")
    score_files(mine, tmp_path / "coco.json", output=page, pictures=photos)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert 'width="400" height="200"' in text


@pytest.mark.parametrize("output", [None, "report.json"])
def test_pictures_without_a_page_are_refused(tmp_path: Path, references: Path, output: str | None) -> None:
    report = tmp_path / output if output else None
    with pytest.raises(CaptionsError, match=r"is for a page, and none is written; give --output"):
        score_files(written(tmp_path / "mine.json", SAID), references, output=report, pictures=tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_captions_in_python_are_scored_as_those_of_files() -> None:
    expected = score_captions(
        [tokenize(SAID[i]) for i in TRUTHS], [[tokenize(text) for text in TRUTHS[i]] for i in TRUTHS]
    )
    report = score(list(SAID.values()), list(TRUTHS.values()), num_resamples=50)
    assert dict(report.items()) == pytest.approx(expected)
    assert (report.cider, report.bleu_4) == (pytest.approx(expected["cider"]), pytest.approx(expected["bleu_4"]))
    assert (report.num_images, report.tokenizer) == (12, "ptb")
    assert report.intervals is not None
    cider = report.intervals.cider
    assert cider.low is not None and cider.high is not None and cider.low <= report.cider <= cider.high
    assert f"CIDEr     {report.cider:.3f}  [{cider.low:.3f}, {cider.high:.3f}]" in str(report)


def test_mappings_are_matched_by_their_ids_in_any_order() -> None:
    shuffled = dict(reversed(list(TRUTHS.items())))
    by_id = score(SAID, {int(key): tuple(texts) for key, texts in shuffled.items()}, num_resamples=0)  # type: ignore[arg-type, misc]
    by_position = score(list(SAID.values()), list(TRUTHS.values()), num_resamples=0)
    assert by_id == by_position
    assert by_id.intervals is None


@pytest.mark.parametrize(
    ("captions", "references", "message"),
    [
        ("a dog", [["a dog"]], "captions is a single text; give a sequence"),
        (["a dog"], "a dog", "references is a single text"),
        (["a dog"], ["a dog"], "the references of image 0 are 'a dog'; give a list of strings"),
        (["a dog", "a cat"], [["a dog"]], "2 captions for the references of 1 images"),
        (["a dog"], {"0": ["a dog"]}, "give two mappings or two sequences"),
        ([None], [["a dog"]], "the caption of image 0 is None; give a string"),
        (["a dog"], [["a dog", 1]], "a reference of image 0 is 1; give a string"),
        (["a dog"], [["a dog", None]], "a reference of image 0 is None; give a string"),
        (["a dog"], [[]], "has no reference"),
        ([], [], "no picture has references|no image has references"),
    ],
)
def test_captions_that_cannot_be_scored_are_refused(captions: object, references: object, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        score(captions, references)  # type: ignore[arg-type]


def test_ids_that_differ_are_named() -> None:
    with pytest.raises(CaptionsError, match=r"1 of 1 captions have no references \('b'\)"):
        score({"b": "a dog"}, {"a": ["a dog"]})
    with pytest.raises(CaptionsError, match="two ids are equal as text"):
        score({1: "a dog", "1": "a cat"}, {"1": ["a dog"]})  # type: ignore[dict-item]


def test_scoring_in_python_needs_the_core_alone() -> None:
    """Without nltk METEOR is None, and the other scores are there."""
    absent = ("dvc", "gradio", "great_expectations", "mlflow", "nltk", "pandas", "pyarrow")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent!r}))
from wordgaze.evaluation.score import score
report = score(["a dog runs"], [["a dog runs", "the dog"]])
print(round(report.bleu_1, 3), report.meteor, round(report.intervals.bleu_1.low, 3))
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stderr, done.stdout) == ("", "1.0 None 1.0\n")
