"""``wordgaze score`` and ``wordgaze.score``: captions from any system, against any references."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from wordgaze.core.errors import CaptionsError, DataError, ScoreError
from wordgaze.data.readers.captions import ColumnNames
from wordgaze.evaluation.document_frequencies import count_in_file
from wordgaze.evaluation.results import ScoredFiles
from wordgaze.evaluation.score import ScoreSelection, score, score_files
from wordgaze.inference.table import FILE_COLUMNS, Row, write_table
from wordgaze.metrics.captions import score_captions
from wordgaze.text.tokenizers.ptb import tokenize

TRUTHS = {
    str(i): [f"A dog number {i} runs over the grass.", f"The dog, no {i}, is on grass!", "A dog's outside"]
    for i in range(12)
}
SAID = {i: f"A dog number {i} runs outside ." for i in TRUTHS}
OTHER = dict.fromkeys(TRUTHS, "a man rides a bike")


@pytest.fixture
def without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolkit's METEOR takes two seconds, and most of what is tested here has nothing to do with it."""
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda systems, references: {})


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
    with pytest.raises(CaptionsError, match=r"p has no picture 0008.jpg, but 0007.jpg; give --pictures the folder"):
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


@pytest.mark.usefixtures("without_java")
def test_document_frequencies_of_a_file_give_the_score_of_the_whole_data_set(tmp_path: Path, references: Path) -> None:
    counts = tmp_path / "counts.json"
    count_in_file(references, counts, ColumnNames())
    mine = written(tmp_path / "mine.json", SAID)
    whole = score_files(mine, references)
    with_file = score_files(mine, references, document_frequencies=counts)
    assert with_file.summary.scores == whole.summary.scores
    assert with_file.details.intervals == whole.details.intervals
    assert with_file.summary.cider_document_frequencies == "file counts.json"
    one = {"7": SAID["7"]}
    assert score(one, {"7": TRUTHS["7"]}, num_resamples=0).cider == 0
    alone = score(one, {"7": TRUTHS["7"]}, num_resamples=0, document_frequencies=counts).cider
    cider = [score({i: SAID[i]}, {i: TRUTHS[i]}, num_resamples=0, document_frequencies=counts).cider for i in TRUTHS]
    assert alone == cider[7] > 0
    assert sum(cider) / 12 == pytest.approx(whole.summary.scores["mine"].cider)


def test_document_frequencies_of_another_tokenizer_are_refused(tmp_path: Path, references: Path) -> None:
    counts = tmp_path / "counts.json"
    count_in_file(references, counts, ColumnNames(), tokenizer="unicode")
    with pytest.raises(ScoreError, match=r"counts\.json was counted with the tokenizer unicode, .* --tokenizer ptb"):
        score(SAID, TRUTHS, document_frequencies=counts)
    with pytest.raises(DataError, match=r"no\.json is missing; write it with wordgaze document-frequencies"):
        score(SAID, TRUTHS, document_frequencies=tmp_path / "no.json")


def test_document_frequencies_are_counted_in_a_split(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.jpg", "caption": "a dog runs", "split": ("train", "test")[n % 2]} for n in range(5)]
    (tmp_path / "refs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = count_in_file(tmp_path / "refs.jsonl", tmp_path / "counts.json", ColumnNames(), split="test")
    assert (counts.num_images, counts.counts[("a", "dog")]) == (2, 2)


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


def test_series_of_pandas_are_matched_by_their_index() -> None:
    captions = pd.Series(["a dog", "a cat"], index=["y", "x"])
    references = pd.Series([["a cat"], ["a dog"]], index=["x", "y"])
    assert score(captions, references, num_resamples=0).bleu_1 == pytest.approx(1)  # type: ignore[arg-type]
    by_position = score(captions, [["a dog"], ["a cat"]], num_resamples=0)  # type: ignore[arg-type]
    assert by_position.bleu_1 == pytest.approx(1)


def test_references_are_read_once() -> None:
    assert score(["a dog"], [iter(["a dog"])], num_resamples=0).bleu_1 == pytest.approx(1)  # type: ignore[list-item]


def test_references_without_a_word_are_told(caplog: pytest.LogCaptureFixture) -> None:
    score(["a dog", "🐱"], [["a dog"], ["🐶", "!"]], num_resamples=0)
    assert "2 of 3 references have no word to the tokenizer ptb, such as '🐶'" in caplog.text


@pytest.mark.parametrize(
    ("captions", "references", "message"),
    [
        (None, [["a dog"]], "captions is None; give a sequence"),
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


CHINESE = {
    "1": ["一个男人在公园里跑步。", "公园里有一个男人在跑步。"],
    "2": ["一只狗在草地上奔跑。", "草地上有一只狗。"],
}
ALMOST = {"1": "一个女人在公园里跑步", "2": "一只猫在草地上奔跑"}


def test_case_language_without_spaces_is_scored_by_characters(caplog: pytest.LogCaptureFixture) -> None:
    """Captions that differ by one character score high, not 0."""
    report = score(ALMOST, CHINESE, num_resamples=0)
    assert (report.tokenizer, report.meteor, caplog.text) == ("characters", None, "")
    assert report.bleu_1 > 0.8 and report.bleu_4 > 0.5 and report.cider > 1
    assert score({i: of_one[0] for i, of_one in CHINESE.items()}, CHINESE, num_resamples=0).bleu_4 == pytest.approx(1)
    whole = score(ALMOST, CHINESE, num_resamples=0, tokenizer="ptb")
    assert whole.bleu_1 == pytest.approx(0, abs=1e-6)
    assert "most captions are one long word to the tokenizer ptb: their script writes no blanks" in caplog.text
    assert "choose the tokenizer characters" in caplog.text


@pytest.mark.parametrize(
    ("reference", "tokenizer"),
    [("Ein Hund läuft.", "ptb"), ("Собака бежит.", "unicode"), ("कुत्ता दौड़ रहा है।", "unicode"), ("เด็กวิ่ง", "characters")],
)
def test_the_script_of_the_references_decides_the_tokenizer(reference: str, tokenizer: str) -> None:
    report = score([reference.rstrip(".।")], [[reference]], num_resamples=0)
    assert (report.tokenizer, report.bleu_1) == (tokenizer, pytest.approx(1))


def test_turkish_captions_are_scored_by_their_own_lower_case() -> None:
    captions, references = ["iki köpek ışıkta"], [["İKİ KÖPEK IŞIKTA"]]
    assert score(captions, references, num_resamples=0, tokenizer="unicode-tr").bleu_1 == pytest.approx(1)
    assert score(captions, references, num_resamples=0).bleu_1 == pytest.approx(1)
    assert score(captions, references, num_resamples=0, tokenizer="ptb").bleu_1 < 0.7


def test_an_unknown_tokenizer_is_refused() -> None:
    with pytest.raises(ScoreError, match="tokenizer 'bpe' is unknown; choose one of auto, ptb, unicode"):
        score(["a"], [["a"]], tokenizer="bpe")


def test_files_in_another_language_are_scored_and_the_page_says_how(tmp_path: Path) -> None:
    references = tmp_path / "references.jsonl"
    rows = (json.dumps({"image": i, "captions": of_one}) + "\n" for i, of_one in CHINESE.items())
    references.write_text("".join(rows), encoding="utf-8")
    page = tmp_path / "report.html"
    scored = score_files(written(tmp_path / "mine.json", ALMOST), references, output=page)
    assert scored.summary.tokenizer == "characters" and scored.summary.scores["mine"].cider > 1
    assert scored.summary.baselines.human is not None and scored.summary.baselines.human.meteor is None
    text = page.read_text(encoding="utf-8")
    assert "tokenized by the characters tokenizer" in text and "METEOR is left out" in text


def coco_and_karpathy(folder: Path) -> tuple[Path, Path]:
    """References of twelve pictures with five in the split test, whose ids in COCO are 100 and more."""
    names = {i: f"COCO_val2014_{100 + int(i):012}.jpg" for i in TRUTHS}
    coco = {
        "images": [{"id": 100 + int(i), "file_name": name} for i, name in names.items()],
        "annotations": [{"image_id": 100 + int(i), "id": n, "caption": text} for i in TRUTHS for n, text in enumerate(TRUTHS[i])],
    }  # fmt: skip
    karpathy = {
        "images": [
            {"filename": name, "filepath": "val2014", "cocoid": 100 + int(i), "imgid": 11 - int(i),
             "split": "test" if int(i) < 5 else "train", "sentences": [{"raw": text} for text in TRUTHS[i]]}
            for i, name in names.items()
        ]
    }  # fmt: skip
    (folder / "coco.json").write_text(json.dumps(coco))
    (folder / "karpathy.json").write_text(json.dumps(karpathy))
    return folder / "coco.json", folder / "karpathy.json"


@pytest.mark.usefixtures("without_java")
@pytest.mark.parametrize(
    "form", ["{}", "{:012}", "COCO_val2014_{:012}.jpg", "{:012}.jpg", "val2014/COCO_val2014_{:012}"]
)
def test_case_score_a_part_of_the_references(tmp_path: Path, form: str) -> None:
    coco, karpathy = coco_and_karpathy(tmp_path)
    mine = written(tmp_path / "mine.json", {form.format(100 + i): SAID[str(i)] for i in range(5)})
    expected = score([SAID[str(i)] for i in range(5)], [TRUTHS[str(i)] for i in range(5)], num_resamples=0)
    for references, selection in ((coco, ScoreSelection(partial=True)), (karpathy, ScoreSelection(split="test"))):
        scored = score_files(mine, references, selection=selection)
        assert scored.summary.scores["mine"].cider == pytest.approx(expected.cider)
        assert scored.summary.num_images == 5
        assert scored.num_left_out == (7 if selection.partial else 0)
    with pytest.raises(
        CaptionsError, match=r"7 of 12 references have no caption .*; score the images that have one with --partial"
    ):
        score_files(mine, coco)


@pytest.mark.usefixtures("without_java")
def test_captions_of_all_splits_are_scored_on_one(tmp_path: Path) -> None:
    _, karpathy = coco_and_karpathy(tmp_path)
    mine = written(tmp_path / "mine.json", {str(100 + int(i)): text for i, text in SAID.items()})
    assert score_files(mine, karpathy, selection=ScoreSelection(split="test")).summary.num_images == 5
    with pytest.raises(
        CaptionsError, match=r"karpathy\.json has the splits test, train, but not 'val'; leave out --split"
    ):
        score_files(mine, karpathy, selection=ScoreSelection(split="val"))


def test_a_split_of_references_without_splits_is_refused(tmp_path: Path, references: Path) -> None:
    with pytest.raises(CaptionsError, match=r"references\.jsonl has no splits, and so no 'test'; leave out --split"):
        score_files(written(tmp_path / "mine.json", SAID), references, selection=ScoreSelection(split="test"))


def test_case_karpathy_filepath_is_never_scored_against_two_pictures(tmp_path: Path) -> None:
    truths = [
        {"filepath": f"d{d}", "filename": f"{n}.jpg", "sentences": [{"raw": f"folder {d} picture {n}"}]}
        for n in range(2)
        for d in range(2)
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": truths}))
    names_only = written(tmp_path / "names.json", {"0.jpg": "a", "1.jpg": "b"})
    with pytest.raises(
        CaptionsError, match=r"2 of 2 captions have no references .*'0.jpg' matches d0/0.jpg and d1/0.jpg"
    ):
        score_files(names_only, tmp_path / "dataset.json")
    paths = written(
        tmp_path / "paths.json", {f"d{d}/{n}.jpg": f"folder {d} picture {n}" for d in range(2) for n in range(2)}
    )
    assert score_files(paths, tmp_path / "dataset.json").summary.scores["paths"].bleu_1 == pytest.approx(1.0)


@pytest.mark.usefixtures("without_java")
def test_columns_are_named_for_each_file(tmp_path: Path) -> None:
    mine, truths = tmp_path / "mine.csv", tmp_path / "truths.csv"
    mine.write_text("who,what a,what b\na,a dog runs,a cat sits\nb,a cat sits,a dog runs\n")
    truths.write_text("who,x,y\na,a dog runs,a\nb,a cat sits,b\n")
    with pytest.raises(
        CaptionsError, match=r"truths\.csv has no column of images among who, x, y; give .* with --image-column"
    ):
        score_files(mine, truths)
    with pytest.raises(
        CaptionsError, match=r"mine\.csv has several columns of text \(what a, what b\); give .* with --column"
    ):
        score_files(mine, truths, selection=ScoreSelection(image_column="who"))
    for column, bleu in (("what a", 1.0), ("what b", 0.0)):
        selection = ScoreSelection(column, "x", "who")
        assert score_files(mine, truths, selection=selection).summary.scores["mine"].bleu_1 == pytest.approx(
            bleu, abs=0.4
        )


@pytest.mark.usefixtures("without_java")
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_what_caption_writes_is_scored(tmp_path: Path, ending: str) -> None:
    names = ["-1.jpg", "@x.jpg", "=3.jpg", "000123.jpg", "a b.jpg"]
    rows = [Row(name, f"+ a dog, number {n}", -1.0, 0.3, path=f"photos/{name}") for n, name in enumerate(names)]
    write_table(rows, tmp_path / f"said{ending}", FILE_COLUMNS)
    truths = {name: [f"+ a dog, number {n}", "a dog"] for n, name in enumerate(names)}
    (tmp_path / "truths.json").write_text(json.dumps(truths))
    scored = score_files(tmp_path / f"said{ending}", tmp_path / "truths.json")
    assert scored.summary.scores["said"].bleu_1 == pytest.approx(1.0)


@pytest.mark.usefixtures("without_java")
def test_the_pictures_of_the_report_are_found_as_people_name_them(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("deep/A.JPG", "b.png"):
        Image.new("RGB", (40, 30), "red").save(photos / name)
    (tmp_path / "truths.json").write_text(json.dumps({"C:\\me\\a.jpg": ["a dog"], "b": ["a cat"]}))
    score_files(
        written(tmp_path / "mine.json", {"a.jpg": "a dog", "b": "a cat"}),
        tmp_path / "truths.json", output=tmp_path / "a.html", pictures=photos,
    )  # fmt: skip
    assert (tmp_path / "a.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 2


def test_in_python_a_part_is_scored_on_request() -> None:
    some = {i: SAID[i] for i in list(SAID)[:5]}
    with pytest.raises(CaptionsError, match="score the images that have one with partial=True"):
        score(some, TRUTHS)
    assert score(some, TRUTHS, num_resamples=0, partial=True).num_images == 5
    assert score({f"{i}.jpg": text for i, text in SAID.items()}, TRUTHS, num_resamples=0).num_images == 12
