"""DVC experiments: a run with a changed parameter, a queue in copies of the project, and renamed parameters."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow
PATIENCE = 600


@pytest.fixture(scope="module")
def project(copied: "Callable[[], Project]") -> "Project":
    return copied()


def table(project: "Project") -> list[dict[str, Any]]:
    """The experiments of this commit, as ``dvc exp show`` has them."""
    baselines = json.loads(project.dvc("exp", "show", "--json"))
    return [experiment["revs"][0]["data"] for row in baselines for experiment in row.get("experiments") or ()]


def test_a_changed_learning_rate_reruns_the_trainings_and_what_follows(project: "Project") -> None:
    shown = project.dvc("exp", "run", "-S", "train_stage1.learning_rate=1e-3")
    assert re.findall(r"Running stage '(\w+)'", shown) == ["check_params", "train_stage1", "train_stage2", "evaluate"]
    [experiment] = table(project)
    assert experiment["params"]["params.yaml"]["data"]["train_stage1"]["learning_rate"] == 1e-3
    assert project.dvc("repro").count("didn't change, skipping") == 8


def test_a_queue_tries_two_seeds(project: "Project") -> None:
    project.git("checkout", "-q", "--", ".")
    project.dvc("checkout", "-q")
    before = (project.root / "params.yaml").read_bytes()
    known = len(table(project))
    project.dvc("exp", "run", "--queue", "-S", "seed=1,2")
    project.dvc("queue", "start")
    wait_for_queue(project)
    found = [experiment for experiment in table(project) if experiment["metrics"]][: -known or None]
    by_seed = {experiment["params"]["params.yaml"]["data"]["seed"]: experiment for experiment in found}
    assert set(by_seed) == {1, 2}
    scores = {seed: experiment["metrics"]["reports/scores.json"]["data"] for seed, experiment in by_seed.items()}
    assert scores[1] == json.loads((project.root / "reports" / "scores.json").read_text(encoding="utf-8"))
    assert set(scores[2]) == set(scores[1])
    assert len({experiment["outs"]["models/stage2"]["hash"] for experiment in by_seed.values()}) == 2
    assert (project.root / "params.yaml").read_bytes() == before
    assert not list(Path(project.root / ".dvc" / "tmp" / "exps").glob("*/mlflow.db"))


def test_a_renamed_parameter_is_refused(project: "Project") -> None:
    """DVC refuses an unknown key by itself; added with +, it is refused by the first stage that runs."""
    changes = ("-S", "train_stage1.epochs=1")
    refused = project.run("-m", "dvc", "exp", "run", "-S", "decode.num=2", *changes)
    assert refused.returncode != 0
    assert "Could not override 'decode.num'" in refused.stderr
    try:
        refused = project.run("-m", "dvc", "exp", "run", "-S", "+decode.num=2", *changes)
    finally:
        project.git("checkout", "-q", "--", ".")
    assert refused.returncode != 0
    assert "decode.num is renamed to generation.num_return_sequences" in refused.stderr


def wait_for_queue(project: "Project") -> None:
    end = time.monotonic() + PATIENCE
    while re.search(r"Queued|Running", shown := project.dvc("queue", "status")):
        assert time.monotonic() < end, shown
        time.sleep(1)
    assert shown.count("Success") == 2, shown
