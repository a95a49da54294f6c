"""A stage that trains on two ranks: one is killed, and the training goes on under torchrun."""

import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.conftest import change_params
from tests.pipeline.test_interrupted import saves

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def curve(project: "Project") -> list[float]:
    """The losses of the epochs."""
    with (project.root / "reports/train_stage1.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def test_a_killed_rank_ends_the_stage_which_goes_on_under_torchrun(
    finished: "Project", copied: "Callable[[], Project]"
) -> None:
    project = copied()
    change_params(project.root / "params.yaml", {"train_stage1": {"devices": 2}})
    for path in (project.root / "models/stage1").iterdir():
        path.unlink()
    reached = saves(project, 3)
    command = [sys.executable, "-m", "pipeline", "train_stage1"]
    stage = subprocess.Popen(command, cwd=project.root, env=project.environment(), stderr=subprocess.PIPE, text=True)
    while not reached():
        assert stage.poll() is None, stage.stderr and stage.stderr.read()
    children = psutil.Process(stage.pid).children()
    [rank] = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    rank.send_signal(signal.SIGKILL)
    _, errors = stage.communicate(timeout=60)
    assert stage.returncode == 1
    assert errors.splitlines()[-1] == (
        "wordgaze: rank 1 was ended by SIGKILL; run the stage again: it goes on from what it has saved,"
        " with fewer devices if memory ran out"
    )
    assert "Traceback" not in errors
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert not list((project.root / "models/stage1").iterdir())

    done = project.run(*TORCHRUN, "-m", "pipeline", "train_stage1")
    assert done.returncode == 0, done.stderr
    assert (project.root / "models/stage1/weights.safetensors").is_file()
    assert not list(Path(project.root).glob(".scratch/training-*"))
    # In bf16, where the processor has it, parts of a batch round otherwise than the whole one.
    assert curve(project) == pytest.approx(curve(finished), abs=0.05)
    assert sum(line.startswith("train_stage1: epoch 6 of 6") for line in done.stderr.splitlines()) == 1
