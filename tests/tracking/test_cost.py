"""What stages took, from their runs to a model card."""

import time
from pathlib import Path

import pytest

from wordgaze.tracking import cost
from wordgaze.tracking.card import training_costs
from wordgaze.tracking.runs import WEIGHTS_TAG, StageRun, stage_run
from wordgaze.tracking.store import open_store


def metrics_of(run: StageRun) -> dict[str, float]:
    return run.client.get_run(run.run_id).data.metrics


def rapl(folder: Path, joules: float) -> None:
    package = folder / "intel-rapl:0"
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (package / "max_energy_range_uj").write_text(f"{round(1000 * 1e6)}\n")


def test_time_processor_time_and_memory_of_a_stage_are_logged(project: Path) -> None:
    with stage_run("features", {}) as run:
        deadline = time.process_time() + 0.05
        while time.process_time() < deadline:
            pass
    metrics = metrics_of(run)
    assert metrics[cost.SECONDS] >= 0.05 <= metrics[cost.CPU_SECONDS]
    assert metrics[cost.PEAK_MEMORY] > 10
    assert "CPUs" in run.client.get_run(run.run_id).data.tags[cost.MACHINE]


@pytest.mark.parametrize(("end", "joules"), [(760, 60), (10, 310)])
def test_energy_is_that_of_the_counters_also_when_they_begin_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: float, joules: float
) -> None:
    monkeypatch.setattr(cost, "POWERCAP", tmp_path / "powercap")
    rapl(cost.POWERCAP, 700)
    with stage_run("features", {}) as run:
        rapl(cost.POWERCAP, end)
    assert metrics_of(run)[cost.ENERGY] == pytest.approx(joules)


def test_a_machine_without_counters_states_no_energy(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "POWERCAP", tmp_path / "none")
    with stage_run("features", {}) as run:
        pass
    assert cost.ENERGY not in metrics_of(run)


def test_the_costs_of_a_training_are_those_of_its_pass_and_else_of_the_one_before(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("features", "train_stage1"):
        with stage_run(stage, {}):
            pass
    time.sleep(0.01)  # times of runs are in milliseconds
    monkeypatch.setenv("DVC_EXP_NAME", "another")
    with stage_run("train_stage1", {}):
        pass
    with stage_run("train_stage2", {}) as run:
        run.tag(WEIGHTS_TAG, "ab")
    time.sleep(0.01)
    monkeypatch.setenv("DVC_EXP_NAME", "later")
    with stage_run("features", {}):  # of another pass, after the training
        pass
    costs = training_costs(open_store(), "ab")
    assert [(one.stage, one.earlier) for one in costs] == [
        ("features", True), ("train_stage1", False), ("train_stage2", False),
    ]  # fmt: skip
    assert training_costs(open_store(), "cd") == ()
