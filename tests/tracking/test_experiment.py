"""MLflow's own variables name the experiment of the runs."""

import os
from pathlib import Path

import pytest

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.runs import find_stage_run, stage_run
from wordgaze.tracking.store import open_store


def experiment_of_a_run() -> str:
    """The name of the experiment that a stage logs its run to, which is found there again."""
    with stage_run("prepare", {}) as run:
        run.tag("here", "yes")
    assert find_stage_run("here", "yes") == run.run_id
    found = run.client.get_run(run.run_id)
    assert found.info.experiment_id == run.client.get_run(run.parent_id).info.experiment_id
    return str(run.client.get_experiment(found.info.experiment_id).name)


@pytest.mark.parametrize("with_address", [False, True])
def test_case_mlflow_experiment_name(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, with_address: bool
) -> None:
    if with_address:
        elsewhere = (project / "mlflow.db").rename(tmp_path_factory.mktemp("elsewhere") / "team.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    assert experiment_of_a_run() == "wordgaze"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team/captions")
    assert experiment_of_a_run() == "team/captions"  # made
    assert experiment_of_a_run() == "team/captions"  # there
    made = open_store().experiment
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    assert experiment_of_a_run() == "team/captions"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")  # as if it was not set
    assert experiment_of_a_run() == "wordgaze"


def test_mlflow_knows_the_experiment_as_one_of_training_runs(project: Path) -> None:
    store = open_store()
    kind = "mlflow.experimentKind"
    assert store.client.get_experiment(store.experiment).tags[kind] == "custom_model_development"
    other = store.client.create_experiment("made-by-hand")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_ID", other)
        open_store()
    assert store.client.get_experiment(other).tags[kind] == "custom_model_development"


@pytest.mark.parametrize("unknown", ["77", "team"])
def test_an_unknown_id_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch, unknown: str) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", unknown)
    with pytest.raises(
        TrackingError, match=rf"^MLFLOW_EXPERIMENT_ID={unknown} is not the id .* MLFLOW_EXPERIMENT_NAME"
    ):
        open_store()


def test_an_id_and_a_name_of_two_experiments_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", open_store().experiment)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "wordgaze")
    assert open_store().experiment == os.environ["MLFLOW_EXPERIMENT_ID"]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    with pytest.raises(TrackingError, match="is the experiment 'wordgaze', and MLFLOW_EXPERIMENT_NAME is 'team'"):
        open_store()


def test_a_deleted_experiment_is_one_line_with_the_command_that_restores_it(project: Path) -> None:
    store = open_store()
    store.client.delete_experiment(store.experiment)
    restore = f"`mlflow experiments restore --experiment-id {store.experiment}`"
    with pytest.raises(TrackingError, match=f"'wordgaze' is deleted; run {restore}"):
        open_store()


def test_reading_makes_no_experiment(project: Path) -> None:
    assert open_store(create=False).experiment == ""
    assert [one.name for one in open_store(create=False).client.search_experiments()] == ["Default"]
