import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import wordgaze
from wordgaze.core.errors import TrackingError
from wordgaze.core.interruption import Terminated, handle_termination, release_termination
from wordgaze.tracking.runs import find_stage_run, stage_run
from wordgaze.tracking.store import open_store, translate_errors

FOUR = """
import os
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import configure_mlflow

configure_mlflow()
import mlflow.store.tracking.sqlalchemy_store  # once, and not in each of the four

def work(name):
    with stage_run(name, {"seed": 1}) as run:
        [run.metrics({"loss": 1.0 / step}, step) for step in range(1, 20)]

children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        try:
            work(f"stage{number}")
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_stages_are_children_of_one_parent(project: Path) -> None:
    with stage_run("prepare", {"prepare": {"min_count": 5}}) as first:
        pass
    with stage_run("features", {}) as second:
        parent = second.client.get_run(second.parent_id)
        assert parent.info.status == "RUNNING"
    assert first.parent_id == second.parent_id
    for run, stage in ((first, "prepare"), (second, "features")):
        child = run.client.get_run(run.run_id)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (child.info.run_name, child.data.tags["stage"], child.info.status) == (stage, stage, "FINISHED")
    parent = first.client.get_run(parent.info.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == f"scenes-{parent.data.tags['git.commit'][:7]}"


def test_other_params_and_other_experiments_have_parents_of_their_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = []
    for params, experiment in (
        ("seed: 1\n", None),
        ("seed: 2\n", None),
        ("seed: 2\n", "wide-beam"),
        ("seed: 2\n", "wide-beam"),
    ):
        (project / "params.yaml").write_text(params)
        if experiment:
            monkeypatch.setenv("DVC_EXP_NAME", experiment)
        with stage_run("prepare", {}) as run:
            parents.append(run.parent_id)
    assert len(set(parents)) == 3
    assert parents[2] == parents[3]
    assert run.client.get_run(run.parent_id).info.run_name == "wide-beam"
    assert run.client.get_run(run.run_id).data.tags["dvc.experiment"] == "wide-beam"


def test_params_in_another_encoding_do_not_stop_a_run(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 1\n", encoding="utf-16")
    with stage_run("prepare", {}) as run:
        pass
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


def test_a_queued_experiment_logs_to_the_original_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)
    with stage_run("prepare", {}) as run:
        (copy / "report.txt").write_text("all well")
        run.artifact(copy / "report.txt", "reports")
    assert (project / "mlartifacts" / run.run_id / "artifacts" / "reports" / "report.txt").read_text() == "all well"
    assert sorted(path.name for path in copy.iterdir()) == ["report.txt"]


def test_what_is_logged_can_be_read_back(project: Path) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    sections = {"train_stage1": {"learning_rate": 1e-5, "note": "x" * 7000}, "many": {str(n): n for n in range(150)}}
    with stage_run("train_stage1", {**sections, "seed": 1}) as run:
        run.metrics({"dev/cider": 0.5, "dev/bleu4": 0.2}, step=3)
        run.metrics({f"many/{n}": float(n) for n in range(1500)})
    data = run.client.get_run(run.run_id).data
    assert (data.params["train_stage1.learning_rate"], data.params["seed"], data.params["many.149"]) == (
        "1e-05",
        "1",
        "149",
    )
    assert data.params["train_stage1.note"] == "x" * 6000
    assert [(m.step, m.value) for m in run.client.get_metric_history(run.run_id, "dev/cider")] == [(3, 0.5)]
    assert data.metrics["many/1499"] == 1499.0  # more than MLflow takes in one batch
    assert data.tags["git.commit"] == commit
    assert not {"mlflow.user", "mlflow.source.name"} & set(data.tags)


def test_a_failed_stage_fails_its_run_and_the_parent_until_a_later_stage_ends_well(project: Path) -> None:
    with pytest.raises(ZeroDivisionError), stage_run("features", {}) as run:
        run.tag("weights.sha256", "abc")
        raise ZeroDivisionError
    assert [run.client.get_run(i).info.status for i in (run.run_id, run.parent_id)] == ["FAILED", "FAILED"]
    assert find_stage_run("weights.sha256", "abc") is None
    with stage_run("features", {}) as run:
        pass
    assert run.client.get_run(run.parent_id).info.status == "FINISHED"


def test_the_newest_run_with_a_tag_is_found_by_stage(project: Path) -> None:
    ids = []
    for stage in ("train_stage2", "train_stage2", "evaluate"):
        with stage_run(stage, {}) as run:
            run.tag("weights.sha256", "it's")
        ids.append(run.run_id)
    assert find_stage_run("weights.sha256", "it's") == ids[2]
    assert find_stage_run("weights.sha256", "it's", stage="train_stage2") == ids[1]
    assert find_stage_run("weights.sha256", "another") is None


def test_four_processes_on_a_fresh_database_share_one_parent(fresh_project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(wordgaze.__file__).parents[1])}
    four = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FOUR],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (four.stdout.strip(), four.stderr) == ("[0, 0, 0, 0]", "")
    store = open_store()
    runs = store.client.search_runs([store.experiment])
    parents = [run for run in runs if "wordgaze.pipeline" in run.data.tags]
    children = {run.info.run_name: run.data.tags["mlflow.parentRunId"] for run in runs if run not in parents}
    assert len(parents) == 1
    assert children == {f"stage{number}": parents[0].info.run_id for number in range(4)}


def test_an_address_in_the_environment_is_honoured(
    project: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other.db"
    elsewhere.write_bytes(empty_database.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    with stage_run("prepare", {}) as run:
        run.tag("here", "yes")
    assert find_stage_run("here", "yes") == run.run_id
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert find_stage_run("here", "yes") is None


def test_a_database_that_cannot_be_opened_is_reported_at_once_in_one_line(fresh_project: Path) -> None:
    (fresh_project / "mlflow.db").mkdir()
    with pytest.raises(TrackingError, match="unable to open database file; make the store") as caught:
        open_store()
    assert "\n" not in str(caught.value)


def test_an_address_is_reported_without_its_password(fresh_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://someone:secret@example.org/mlflow")
    with pytest.raises(TrackingError) as caught:
        open_store()
    assert "nonsense://example.org/mlflow" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_locked_database_after_a_signal_is_the_signal_and_not_an_error(project: Path) -> None:
    """A signal within a transaction may leave it open, so that whatever cleans up finds the database locked."""
    handle_termination()
    try:
        with pytest.raises(Terminated), stage_run("prepare", {}) as run, translate_errors("package the captioner"):
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            raise sqlite3.OperationalError("database is locked")
    finally:
        release_termination()
    assert run.client.get_run(run.run_id).info.status == "KILLED"
