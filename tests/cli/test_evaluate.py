"""``wordgaze score``, ``audit``, ``ground``, ``faithfulness`` and ``spread``."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Refused, Run
from tests.evaluation.reports import BEAM, evaluation_report


def test_a_file_of_captions_is_scored(run: Run, refused: Refused) -> None:
    Path("truth.csv").write_text("image,caption\n1,a dog runs\n1,the dog runs fast\n2,a red car\n2,a car drives\n")
    Path("captions.csv").write_text("image,caption\n1,a dog runs\n2,a car\n")
    code, out, err = run("score", "captions.csv", "truth.csv", "--output", "report.html")
    assert (code, err) == (0, "")
    for name in ("BLEU-4", "ROUGE-L", "METEOR", "CIDEr", "95 % intervals of captions"):
        assert name in out
    assert Path("report.html").stat().st_size > 1000
    assert refused("score", "captions.csv", "truth.csv", "--output", "report.pdf") == (
        "report.pdf is not a valid report name; end it with .html or .json"
    )
    line = refused("score", "captions.csv", "truth.csv", "--examples", 3)
    assert line == "--examples has no effect without --output NAME.html; add it, or leave --examples out"
    Path("captions.csv").write_text("image,caption\n1,a dog runs\n3,a car\n")
    assert "3" in refused("score", "captions.csv", "truth.csv")
    assert "nowhere.csv" in refused("score", "nowhere.csv", "truth.csv")


def test_spice_is_computed_where_its_program_is(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("truth.csv").write_text("image,caption\n1,a dog runs\n")
    monkeypatch.setattr("wordgaze.evaluation.spice.find_spec", lambda name: None)
    line = refused("score", "truth.csv", "truth.csv", "--spice")
    assert line == "SPICE needs spice-1.0.jar of the package pycocoevalcap; run pip install pycocoevalcap"


def test_a_part_or_a_split_of_the_references_is_scored(run: Run, refused: Refused) -> None:
    rows = "image,what,split\n1.jpg,a dog runs,test\n2.jpg,a red car,test\n3.jpg,a cat,train\n"
    Path("truth.csv").write_text(rows)
    Path("captions.csv").write_text("image,mine\n1,a dog runs\n2,a car there\n")
    columns = ("--column", "mine", "--reference-column", "what")
    assert "score the images that have one with --partial" in refused("score", "captions.csv", "truth.csv", *columns)
    code, out, err = run("score", "captions.csv", "truth.csv", *columns, "--partial")
    assert (code, err) == (0, "")
    assert "left out: 1 image with references and without a caption" in out
    code, out, err = run("score", "captions.csv", "truth.csv", *columns, "--split", "test")
    assert (code, err) == (0, "")
    assert "truth.csv, 2 images" in out and "left out" not in out
    assert "leave out --split" in refused("score", "captions.csv", "truth.csv", *columns, "--split", "dev")


def test_a_file_of_captions_is_audited(run: Run, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.evaluation.score.toolkit_meteor", lambda systems, references: {"captions": 0.123})
    rows = "image,what,split\n1.jpg,a dog runs,test\n2.jpg,a red car,test\n3.jpg,a [b]cat[/b],train\n"
    Path("truth.csv").write_text(rows)
    Path("captions.csv").write_text("image,mine\n1,<start> a dog\x1b[31m \u202eruns\n1,a dog\n9,a [b]bird[/b]\n")
    columns = ("--column", "mine", "--reference-column", "what")
    code, out, err = run("audit", "captions.csv", "truth.csv", *columns, "--split", "test", "-o", "audit.json")
    assert (code, err) == (0, "")
    lines = {line.split(":")[1].split("│")[0].strip(): line for line in out.splitlines() if "warning: " in line}
    assert "│ 1 of 2 " in lines["images without a caption"] and "2.jpg" in lines["images without a caption"]
    assert "9: a [b]bird[/b]" in lines["captions of images that the references lack"]
    assert "1: <start> a dog\ufffd[31m \ufffdruns" in lines["captions with markers such as <start>"]
    assert "remove them" in lines["captions with markers such as <start>"]
    assert out.count("0.123") == 4  # of the rows by PTB, not of tokens between blanks
    assert "\x1b" not in out and "\u202e" not in out
    assert "not found: " in out and "captions cut at one length" in out
    assert "give the training captions with --training" in out
    for row in (
        "the file as it is (2)",
        "images with a caption alone (1)",
        "without markers (1)",
        "tokens between blanks",
    ):
        assert row in out
    findings = {each["check"]: each for each in json.loads(Path("audit.json").read_text())["findings"]}
    assert findings["repeated_captions"]["text"] == "<start> a dog\x1b[31m \u202eruns | a dog"
    code, out, err = run("audit", "captions.csv", "truth.csv", *columns, "--training", "truth.csv")
    assert (code, err) == (0, "")
    assert "captions that are a training caption" not in out and "--training" not in out
    assert refused("audit", "captions.csv", "truth.csv", *columns, "-o", "audit.html") == (
        "audit.html is not a valid name of an audit; end it with .json"
    )
    assert "nowhere.csv cannot be read" in refused("audit", "captions.csv", "nowhere.csv")


def test_an_audit_that_matches_nothing_says_so(run: Run) -> None:
    Path("truth.csv").write_text("image,caption\n1,a dog runs\n")
    Path("captions.csv").write_text("image,caption\nx,a dog runs\n")
    code, out, err = run("audit", "captions.csv", "truth.csv")
    assert (code, err) == (0, "")
    assert "nothing is scored: no caption is of an image of the references" in out


def test_attention_is_measured_against_a_file_of_boxes(
    run: Run, refused: Refused, captioner_folder: Path, picture: Path
) -> None:
    name, nouns = picture.name, ("a", "dog", "cat", "sleeps", "outside")  # whatever this captioner says, it is there
    boxes = {
        "images": [{"id": 1, "file_name": name, "width": 48, "height": 32}],
        "categories": [{"id": n, "name": noun} for n, noun in enumerate(nouns)],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n, "bbox": [0, 0, 48, 32], "iscrowd": 0} for n in range(len(nouns))
        ],
    }
    Path("instances.json").write_text(json.dumps(boxes))
    code, out, err = run("ground", picture, "--boxes", "instances.json")
    assert (code, err) == (0, "")
    assert "the captioner's attention │ 1.000 [1.000, 1.000]" in out
    boxes["images"] = [{"id": 1, "file_name": "other.png", "width": 48, "height": 32}]
    Path("instances.json").write_text(json.dumps(boxes))
    assert "has no boxes of these pictures" in refused("ground", picture, "--boxes", "instances.json")


def test_faithfulness_of_attention_is_measured_beside_other_orders(
    run: Run, refused: Refused, captioner_folder: Path, picture: Path
) -> None:
    code, out, err = run("faithfulness", picture, "--num-beams", 1)
    assert (code, err) == (0, "")
    assert "in 1 image" in out
    for order in ("by attention", "by occlusion of each cell", "from the centre outwards", "at random"):
        assert order in out
    assert "missing.png" in refused("faithfulness", "missing.png")


def test_runs_with_several_seeds_have_a_mean_and_a_spread(run: Run, refused: Refused) -> None:
    def report(name: str, cider: float, dataset: str = "scenes") -> Path:
        scores = {"beam": BEAM.model_copy(update={"cider": cider})}
        evaluation_report(dataset=dataset, scores=scores).save(Path(name))
        return Path(name)

    one, two = report("one.json", 0.5), report("two.json", 0.7)
    code, out, err = run("spread", one, two)
    assert (code, err) == (0, "")
    assert "0.600 ± 0.141" in out
    assert "0.500 ± –" in run("spread", one)[1]  # one run has no spread
    assert "other.json has another data set" in refused("spread", one, report("other.json", 0.6, "flickr8k"))
    one.write_text("[]")
    assert "one.json is not a valid EvaluationReport" in refused("spread", one)
