"""What was measured is told by its content, and not by the name of the data set."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.evaluation.reports import evaluation_details, evaluation_report
from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256, write_json
from wordgaze.evaluation.results import EvaluationReport
from wordgaze.generation.config import GenerationConfig, Strategy
from wordgaze.tracking.registry import register
from wordgaze.tracking.split_fingerprint import EVALUATED, evaluated_data
from wordgaze.tracking.store import open_store
from wordgaze.tracking.versions import registered_versions

ONE = {"a.png": ("red", ["a red square"]), "b.png": ("blue", ["a blue square", "a dark square"])}
Split = Mapping[str, tuple[str, list[str]]]


def write_split(root: Path, images: Split, split: str = "test") -> None:
    """The data and the captions of the report, as the stages write them: for each image its colour and its captions."""
    shutil.rmtree(root / "data", ignore_errors=True)
    for folder in ("data/raw/images", "data/prepared", "reports"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, (colour, _) in images.items():
        Image.new("RGB", (8, 8), colour).save(root / "data/raw/images" / name)
    rows = [(name, split, text, text) for name, (_, captions) in images.items() for text in captions]
    columns = ["image", "split", "raw", "tokens_text"]
    pd.DataFrame(rows, columns=columns).to_parquet(root / "data/prepared/captions.parquet")
    pd.DataFrame([], columns=["image", "tokens_text"]).to_parquet(root / "data/prepared/extra_text.parquet")
    write_json(root / "data/prepared/vocabulary.json", {"words": ["<pad>", "<start>", "<end>", "<unk>"]})
    with (root / "reports/captions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "beam", "references"])
        writer.writerows((name, "a square", " | ".join(captions)) for name, (_, captions) in images.items())


def report_on(split: str, tokenizer: str = "ptb", strategy: Strategy = "greedy") -> EvaluationReport:
    generation = GenerationConfig(strategy=strategy)
    return EvaluationReport.model_construct(split=split, tokenizer=tokenizer, generation=generation)


def fingerprint_of(images: Split, split: str = "test", tokenizer: str = "ptb") -> str:
    write_split(Path(), images, split)
    return evaluated_data(report_on(split, tokenizer))["evaluated_on.fingerprint"]


def test_images_references_split_and_tokenizer_count_and_names_do_not(project: Path) -> None:
    one = fingerprint_of(ONE)
    assert fingerprint_of(ONE) == one
    renamed = {"x.png": ONE["b.png"], "y.png": ONE["a.png"]}
    assert fingerprint_of(renamed) == one
    others = [
        fingerprint_of({"a.png": ONE["a.png"]}),  # max_test_images
        fingerprint_of({**ONE, "a.png": ("green", ["a red square"])}),
        fingerprint_of({**ONE, "a.png": ("red", ["a square"])}),
        fingerprint_of(ONE, split="dev"),
        fingerprint_of(ONE, tokenizer="characters"),
    ]
    assert len({one, *others}) == 6


def test_data_that_have_changed_since_the_report_are_not_taken_for_its_own(project: Path) -> None:
    write_split(project, ONE)
    references = (project / "reports/captions.csv").read_text()
    write_split(project, {**ONE, "a.png": ("red", ["another caption"])})
    (project / "reports/captions.csv").write_text(references)
    with pytest.raises(TrackingError, match="data/prepared has changed since reports were written; run `dvc repro`"):
        evaluated_data(report_on("test"))


def test_each_part_of_what_was_evaluated_has_a_tag_of_its_own(project: Path) -> None:
    write_split(project, ONE)
    one = evaluated_data(report_on("test"))
    assert set(EVALUATED) | {"evaluated_on.fingerprint"} == set(one)
    assert (one["evaluated_on.split"], one["evaluated_on.images"]) == ("test", "2")
    assert changed(one, evaluated_data(report_on("test", strategy="beam"))) == {"decoding"}
    assert changed(one, evaluated_data(report_on("test", tokenizer="characters"))) == {"tokenizer", "fingerprint"}
    write_split(project, {**ONE, "a.png": ("green", ["a red square"])})
    assert "pictures" in changed(one, evaluated_data(report_on("test")))
    write_split(project, {**ONE, "a.png": ("red", ["a square"])})
    assert changed(one, evaluated_data(report_on("test"))) == {"references", "fingerprint"}


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {key.removeprefix("evaluated_on.") for key in one if one[key] != other[key]}


def test_an_evaluation_is_registered_with_its_data_its_decoding_and_its_scores(captioner: Path, project: Path) -> None:
    write_split(project, ONE)
    report = evaluation_report()
    weights = sha256(captioner / "weights.safetensors")
    report.model_copy(update={"dataset": "folder", "weights": weights, "num_images": 2}).save(
        Path("reports/evaluation.json")
    )
    evaluation_details().save(Path("reports/details.json"))
    assert register() == 1
    tags = open_store().client.get_model_version("captioner", "1").tags
    assert set(EVALUATED) <= set(tags)
    [version] = registered_versions()
    assert (version.trained_on, version.evaluated_on) == ("folder", f"{report.split}, 2 images")
    assert version.evaluation["cider"].value == pytest.approx(report.scores[report.system].cider, abs=1e-6)
    assert version.evaluation["cider"].low is not None
