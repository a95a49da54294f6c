"""The data, the parent, the training and the machine of a run, as MLflow's client gives them back."""

import json
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.tracking.lineage import dvc_directory_hash, link_captioner, log_splits
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.runs import stage_run


@pytest.fixture
def prepared(project: Path) -> Path:
    folder = project / "data/prepared"
    folder.mkdir(parents=True)
    rows = [("a.jpg", "train", 0, "A dog.", "a dog", 2), ("a.jpg", "train", 1, "Dogs.", "dogs", 1),
            ("b.jpg", "test", 0, "A cat.", "a cat", 2)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["image", "split", "caption_id", "raw", "tokens_text", "length"])
    table.to_parquet(folder / "captions.parquet")
    return folder


def test_the_splits_are_inputs_of_the_run_and_its_parent(prepared: Path) -> None:
    with stage_run("train_stage1", {}) as run:
        log_splits(run, "scenes", ["train", "test"])
    for run_id in (run.run_id, run.parent_id):
        inputs = run.client.get_run(run_id).inputs.dataset_inputs
        found = {one.dataset.name: (one, json.loads(one.dataset.profile)) for one in inputs}
        assert set(found) == {"scenes/train", "scenes/test"}
        train, profile = found["scenes/train"]
        assert (profile["num_rows"], profile["num_images"]) == (2, 1)
        assert train.dataset.digest == dvc_directory_hash(prepared)
        assert [(tag.key, tag.value) for tag in train.tags] == [("mlflow.data.context", "train")]
        columns = json.loads(train.dataset.schema)["mlflow_colspec"]
        assert {column["name"]: column["type"] for column in columns}["length"] == "long"
        assert json.loads(train.dataset.source) == {"uri": "data/prepared"}
    assert run.client.get_run(run.parent_id).data.tags["dataset"] == "scenes"


def test_a_captioner_is_linked_to_its_runs_and_its_scores_to_their_data(
    prepared: Path, captioner: Path, white_picture: Path
) -> None:
    with stage_run("train_stage2", {}) as training:
        pass
    with stage_run("evaluate", {}) as run:
        [data] = log_splits(run, "scenes", ["test"])
        uri = log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5}, dataset=data)
        model_id = uri.rpartition("/")[2]
        link_captioner(run, model_id, training.run_id, {"dataset": "scenes"})
    model = run.client.get_logged_model(model_id)
    assert model.source_run_id == run.run_id
    assert {"train_run_id": training.run_id, "parent_run_id": run.parent_id, "dataset": "scenes"}.items() <= (
        model.tags.items()
    )
    assert {metric.key for metric in model.metrics} == {"test/beam/cider"}  # and no metrics of the machine
    [score] = [metric for metric in model.metrics if metric.key == "test/beam/cider"]
    assert (score.value, score.dataset_name, score.dataset_digest) == (0.5, "scenes/test", data.digest)
    for run_id in (run.run_id, run.parent_id, training.run_id):
        assert [output.model_id for output in run.client.get_run(run_id).outputs.model_outputs] == [model_id]
    assert run.client.get_run(run.parent_id).data.metrics["test/beam/cider"] == 0.5


def test_the_machine_is_watched_unless_mlflow_is_told_not_to(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage_run("prepare", {}) as run:
        pass
    metrics = run.client.get_run(run.run_id).data.metrics
    assert metrics["system/system_memory_usage_megabytes"] > 0
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    with stage_run("prepare", {}) as run:
        pass
    assert not [name for name in run.client.get_run(run.run_id).data.metrics if name.startswith("system/")]


def test_the_parent_has_the_parameters_of_all_stages(project: Path) -> None:
    for stage in ("prepare", "features"):
        with stage_run(stage, {stage: {"batch_size": 4}, "seed": 1}) as run:
            pass
    params = run.client.get_run(run.parent_id).data.params
    assert params == {"prepare.batch_size": "4", "features.batch_size": "4", "seed": "1"}
