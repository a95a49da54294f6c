"""One ``dvc repro`` from scratch: its outputs, its MLflow runs, and that a second one does nothing."""

import csv
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport
from wordgaze.metrics.captions import SCORES
from wordgaze.tracking.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow.entities import Run

    from tests.conftest import Project

pytestmark = pytest.mark.slow
STAGES = ("download", "prepare", "features", "train_stage1", "train_stage2", "evaluate")


@pytest.fixture
def runs(finished: "Project", monkeypatch: pytest.MonkeyPatch) -> "list[Run]":
    monkeypatch.setenv("DVC_ROOT", str(finished.root))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(create=False)
    return list(store.client.search_runs([store.experiment]))


def report(project: "Project") -> EvaluationReport:
    return EvaluationReport.load(project.root / "reports" / "evaluation.json")


def test_every_output_is_there(finished: "Project") -> None:
    for path in (
        "data/raw/captions.jsonl", "data/raw/audit.json", "data/raw/contract.json",
        "data/prepared/captions.parquet", "data/prepared/vocabulary.json", "data/prepared/summary.json",
        "data/features/manifest.json", "data/features/index.parquet", "data/features/encoder.safetensors",
        "models/stage1/captioner.json", "models/stage1/weights.safetensors",
        "models/stage2/captioner.json", "models/stage2/weights.safetensors",
        "reports/train_stage1.csv", "reports/train_stage2.csv", "reports/captions.csv", "reports/details.json",
        "reports/evaluation.html", "reports/calibration.csv", "reports/confidence.csv", "reports/scores.json",
    ):  # fmt: skip
        assert (finished.root / path).stat().st_size > 0, path
    assert len(list((finished.root / "data/raw/images").iterdir())) == 60
    shards = list((finished.root / "data/features").glob("shard-*-of-00016.safetensors"))
    assert 8 < len(shards) <= 16  # some may have no pictures
    assert len(list((finished.root / "reports/attention").iterdir())) == 2
    assert not list((finished.root / ".scratch").glob("training-*"))
    assert not list((finished.root / ".scratch").glob("features-*"))


def test_the_evaluation_has_all_scores(finished: "Project") -> None:
    evaluation = report(finished)
    assert (evaluation.dataset, evaluation.split, evaluation.num_images) == ("scenes", "test", 5)
    assert (evaluation.tokenizer, evaluation.system, evaluation.generation.num_beams) == ("ptb", "beam", 5)
    assert set(evaluation.scores) == {"greedy", "beam"}
    baselines = evaluation.baselines.labelled("beam")
    assert len(baselines) == 5
    for scores in (*evaluation.scores.values(), *(baseline.scores for baseline in baselines)):
        values = dict(scores.items())
        assert set(values) == set(SCORES)
        for name, value in values.items():
            assert 0 <= value <= (10 if name == "cider" else 1)
    assert evaluation.baselines.human is not None and evaluation.baselines.human.bleu_4 > 0.2
    assert evaluation.baselines.constant_caption
    assert evaluation.grounding is not None  # without numbers: the miniature captioner names no object


def test_the_page_has_scores_with_confidence_intervals(finished: "Project") -> None:
    details = EvaluationDetails.load(finished.root / "reports" / "details.json")
    scores = dict(report(finished).scores["beam"].items())
    for name, interval in details.intervals["beam"].items():
        assert interval.low is not None and interval.high is not None
        assert interval.low - 1e-6 <= scores[name] <= interval.high + 1e-6
    assert sum(group.num_images for group in details.by_objects) == 5
    page = (finished.root / "reports" / "evaluation.html").read_text(encoding="utf-8")
    assert f"{scores['cider']:.3f}" in page
    assert page.count("data:image/jpeg;base64,") >= 5
    for stage in (1, 2):
        assert f'aria-label="Stage {stage}: training loss: epoch 1 ' in page


def test_the_captions_stand_beside_their_references(finished: "Project") -> None:
    with (finished.root / "reports" / "captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "greedy", "beam", "references"]
    assert len(rows) == 5
    assert all(row["references"].count(" | ") == 4 for row in rows)


def test_the_curves_have_a_line_an_epoch(finished: "Project") -> None:
    for stage, epochs in (("train_stage1", 6), ("train_stage2", 2)):
        with (finished.root / "reports" / f"{stage}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == [str(n + 1) for n in range(epochs)]
        best = json.loads((finished.root / "reports" / f"{stage}.json").read_text(encoding="utf-8"))
        assert best["dev_cider"] == max(float(row["dev_cider"]) for row in rows)


def test_a_second_run_does_nothing(finished: "Project") -> None:
    shown = finished.dvc("repro")
    assert "Running stage" not in shown
    assert "up to date" in shown


def test_the_tracking_has_one_parent_with_six_finished_stages(runs: "list[Run]") -> None:
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    assert len(parents) == 1
    assert sorted(run.info.run_name for run in children) == sorted(STAGES)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_evaluated_captioner_is_logged_as_a_model(finished: "Project", runs: "list[Run]") -> None:
    by_name = {run.info.run_name: run for run in runs}
    evaluated = by_name["evaluate"]
    assert [output.model_id for output in evaluated.outputs.model_outputs]
    assert len(evaluated.data.tags["evaluated_on.fingerprint"]) == 16
    assert evaluated.data.tags["train_run_id"] == by_name["train_stage2"].info.run_id
    assert evaluated.data.metrics["test/beam/cider"] == pytest.approx(report(finished).scores["beam"].cider, abs=1e-6)
    model = finished.root / "mlartifacts" / "models" / evaluated.outputs.model_outputs[0].model_id / "artifacts"
    packaged = next(model.rglob("weights.safetensors"))
    assert packaged.read_bytes() == (finished.root / "models/stage2/weights.safetensors").read_bytes()


def test_the_summary_prints_the_scores(finished: "Project") -> None:
    shown = finished.stage("summary")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{report(finished).scores['beam'].cider:.3f}" in shown.stdout
    assert "scenes, test split, 5 images" in shown.stdout


def test_the_captioner_is_registered_promoted_and_used(finished: "Project") -> None:
    for command, message in (("register", "version 1 is the challenger"), ("promote", "version 1 is the champion")):
        done = finished.stage(command)
        assert done.returncode == 0, done.stderr
        assert message in done.stdout
        assert not re.search("warning|error|Traceback", done.stderr, re.IGNORECASE)
    picture = "data/raw/images/scene-00000.jpg"
    ours = finished.stage("caption", picture)
    champion = finished.stage("caption", picture, "--model", "models:/captioner@champion")
    assert (champion.returncode, champion.stderr) == (0, "")
    assert champion.stdout == ours.stdout
    assert champion.stdout.startswith(f"{picture}\t")


def test_an_evaluation_that_was_not_repeated_is_registered_all_the_same(copied: "Callable[[], Project]") -> None:
    project = copied()  # as a clone after dvc pull, whose MLflow store knows of no run
    for command, message in (("register", "version 1 is the challenger"), ("promote", "version 1 is the champion")):
        done = project.stage(command)
        assert done.returncode == 0, done.stderr
        assert message in done.stdout
        assert not re.search("warning|error|Traceback", done.stderr, re.IGNORECASE)
    weights = project.root / "models" / "stage2" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    refused = project.stage("register")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no evaluation of models/stage2 is in MLflow or in reports/evaluation.json" in refused.stderr


def test_a_wrong_parameter_deletes_no_output(copied: "Callable[[], Project]") -> None:
    """DVC deletes the outputs of a stage before it starts it, so the first stage refuses the parameters of all."""
    project = copied()
    before = contents(project.root)
    params = project.root / "params.yaml"
    given = params.read_text(encoding="utf-8")
    params.write_text(given.replace("learning_rate: 0.003", "learning_rate: 3"), encoding="utf-8")
    failed = project.run("-m", "dvc", "repro", "train_stage2")
    assert failed.returncode != 0
    assert "train_stage1.learning_rate" in failed.stderr
    assert "failed to reproduce 'check_params'" in failed.stderr
    assert contents(project.root) == before
    params.write_text(given, encoding="utf-8")
    shown = project.dvc("repro")
    assert "Stage 'check_params' is cached" in shown
    assert shown.count("didn't change, skipping") == 7
    assert project.changed_files() == ""


def test_what_has_run_before_is_restored_and_not_computed_again(copied: "Callable[[], Project]") -> None:
    """Without dvc.lock, DVC asks its run cache, as for parameters that are changed and changed back.

    It keeps a stage only if all outputs of the stage that are not metrics are in DVC's cache.
    """
    project = copied()
    before = contents(project.root)
    (project.root / "dvc.lock").unlink()
    for folder in ("data", "models", "reports"):
        shutil.rmtree(project.root / folder)
    shown = project.dvc("repro")
    assert "Running stage" not in shown
    for stage in ("check_params", *STAGES):
        assert f"Stage '{stage}' is cached - skipping run, checking out outputs" in shown
    assert contents(project.root) == before
    assert project.changed_files() == ""


def contents(root: "Path") -> dict[str, bytes]:
    """The files of the models and the reports."""
    files = (path for folder in ("models", "reports") for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
