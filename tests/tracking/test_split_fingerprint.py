"""What was measured decides whether two captioners can be compared, and not the name of the data set."""

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256, write_json
from wordgaze.evaluation.results import EvaluationReport
from wordgaze.tracking.evaluation import log_evaluation
from wordgaze.tracking.registry import promote, register
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.split_fingerprint import split_fingerprint
from wordgaze.tracking.store import open_store

REPORT = Path(__file__).parents[2] / "reports" / "evaluation.json"
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


def fingerprint_of(images: Split, split: str = "test", tokenizer: str = "ptb") -> str:
    write_split(Path(), images, split)
    return split_fingerprint(EvaluationReport.model_construct(split=split, tokenizer=tokenizer))


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
        split_fingerprint(EvaluationReport.model_construct(split="test", tokenizer="ptb"))


@pytest.fixture
def evaluate(captioner: Path, write_captioner: Callable[..., Path]) -> Callable[..., None]:
    """The end of the stage evaluate for a folder of images: a captioner, its report, and the run of MLflow."""

    def evaluate(images: Split, seed: int, cider: float) -> None:
        write_captioner(captioner, seed)
        write_split(Path(), images)
        report = EvaluationReport.load(REPORT)
        scores = {name: one.model_copy(update={"cider": cider}) for name, one in report.scores.items()}
        weights = sha256(captioner / "weights.safetensors")
        changed = {"dataset": "folder", "weights": weights, "num_images": len(images), "scores": scores}
        report.model_copy(update=changed).save(Path("reports/evaluation.json"))
        with stage_run("evaluate", {}) as run:
            log_evaluation(run)

    return evaluate


def test_case_promote_across_data_sets(evaluate: Callable[..., None]) -> None:
    evaluate(ONE, seed=1, cider=0.5)
    assert register() == promote() == 1
    evaluate({"a.png": ("white", ["a white square"])}, seed=2, cider=0.9)
    assert register() == 2
    with pytest.raises(
        TrackingError, match=r"\(version 2, folder\) and .*\(version 1, folder\) were not measured on the same"
    ):
        promote()
    open_store().client.delete_model_version_tag("captioner", "2", "evaluated_on.fingerprint")
    with pytest.raises(
        TrackingError, match=r"older wordgaze.*run `dvc repro -f -s evaluate` and `wordgaze register`, or"
    ):
        promote()
    evaluate(ONE, seed=2, cider=0.6)  # the challenger, on the champion's images
    assert register() == promote() == 2
