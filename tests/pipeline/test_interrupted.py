"""Killed and started again, or run again elsewhere, the stages end with the same bytes; a failure leaves no ruins."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import change_params
from wordgaze.tracking.store import open_store
from wordgaze.training.checkpoint import load_checkpoint

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow
PATIENCE = 300


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kill(process: "subprocess.Popen[bytes]", moment: Callable[[], bool]) -> None:
    """Kills a stage, which cannot catch that, as soon as ``moment`` has come."""
    end = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def saves(project: "Project", count: int) -> Callable[[], bool]:
    """True once the training has saved its checkpoint ``count`` times from now on."""
    seen: set[int] = {path.stat().st_mtime_ns for path in project.root.glob(".scratch/training-*/checkpoint.*")}
    known = len(seen)

    def reached() -> bool:
        for path in project.root.glob(".scratch/training-*/checkpoint.safetensors"):
            seen.add(path.stat().st_mtime_ns)
        return len(seen) - known >= count

    return reached


def test_a_training_killed_twice_ends_with_the_same_bytes(
    finished: "Project", copied: "Callable[[], Project]", monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied()
    for path in (project.root / "models/stage1").iterdir():
        path.unlink()
    (project.root / "reports/train_stage1.csv").unlink()
    for count in (3, 16):  # of 15 batches an epoch, so that the second kill comes after an epoch's end
        kill(project.start("train_stage1"), saves(project, count))
        assert not contents(project.root / "models/stage1")
    done = project.stage("train_stage1")
    assert done.returncode == 0, done.stderr

    assert contents(project.root / "models/stage1") == contents(finished.root / "models/stage1")
    assert contents(project.root / "reports") == contents(finished.root / "reports")
    assert not list(project.root.glob(".scratch/training-*"))
    monkeypatch.setenv("DVC_ROOT", str(project.root))
    store = open_store(create=False)
    [last] = store.client.search_runs([store.experiment], "attributes.status = 'FINISHED' and tags.stage != ''")
    epochs = [metric.step for metric in store.client.get_metric_history(last.info.run_id, "train/loss")]
    assert epochs[-1] == 6
    assert 1 not in epochs  # it went on, and did not start from the beginning


def test_an_encoder_whose_training_is_killed_twice_ends_with_the_same_bytes(copied: "Callable[[], Project]") -> None:
    """And its features, and what is trained on them, are those of a training that was not killed."""
    ends = []
    for counts in ((), (1, 4)):
        project = copied()
        changes = {"blocks": 1, "epochs": 2, "batch_size": 8, "checkpoint_seconds": 0.0, "device": "cpu"}
        change_params(project.root / "params.yaml", {"finetune": changes})
        for count in counts:
            kill(project.start("finetune"), saves(project, count))
        project.dvc("repro", "train_stage1")
        assert not list(project.root.glob(".scratch/training-*"))
        ends.append([contents(project.root / name) for name in ("models/encoder", "data/features", "models/stage1")])
    assert ends[0] == ends[1]
    assert "encoder.safetensors" in ends[0][0]


def test_a_training_whose_code_has_changed_starts_from_the_beginning(copied: "Callable[[], Project]") -> None:
    project, steps = copied(), 15  # an epoch

    def finished_steps(folder: Path) -> int:
        _, state = load_checkpoint(folder / "checkpoint.safetensors") or ({}, {})
        return int(state["epoch"] * steps + state["batch"])

    kill(project.start("train_stage1"), saves(project, steps + 2))
    [before] = project.root.glob(".scratch/training-*")
    losses = project.root / "src/wordgaze/training/losses.py"
    losses.write_text(f"{losses.read_text()}\n\nANOTHER = 'loss'\n")
    kill(project.start("train_stage1"), saves(project, 2))
    [after] = set(project.root.glob(".scratch/training-*")) - {before}
    assert finished_steps(before) > steps
    assert finished_steps(after) < steps


def test_features_killed_midway_go_on_behind_the_finished_shards(
    finished: "Project", copied: "Callable[[], Project]"
) -> None:
    project = copied()
    for path in (project.root / "data/features").iterdir():
        path.unlink()

    def shards() -> list[Path]:
        return sorted(project.root.glob(".scratch/features-*/shard-*.safetensors"))

    kill(project.start("features"), lambda: len(shards()) >= 3)
    before = {path.name: path.stat().st_mtime_ns for path in shards()}
    assert 3 <= len(before) < 15
    done = project.stage("features")
    assert done.returncode == 0, done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in (project.root / "data/features").iterdir()}
    whole = sorted(before)[:-1]  # the newest one may lack its checksum, and is then computed again
    assert {name: after[name] for name in whole} == {name: before[name] for name in whole}
    assert contents(project.root / "data/features") == contents(finished.root / "data/features")


STAGES = """
import sys
from importlib import import_module
from pathlib import Path
sys.path.insert(0, "src")
from wordgaze.config.params import load_params
for stage in ("download", "prepare", "finetune", "features", "train_stage1", "train_stage2"):
    import_module(f"wordgaze.stages.{stage}").run(load_params(Path("params.yaml")))
"""


def test_two_clones_make_the_same_bytes(finished: "Project", clone: "Callable[[], Project]") -> None:
    """The other by DVC, a process per stage; this one in a single process, which takes half the time."""
    project = clone()
    done = project.run("-c", STAGES)
    assert done.returncode == 0, done.stderr
    for folder in ("data/raw", "data/prepared", "data/features", "models/stage1", "models/stage2"):
        assert contents(project.root / folder) == contents(finished.root / folder), folder
    for name in ("train_stage1.csv", "train_stage1.json", "train_stage2.csv", "train_stage2.json"):
        assert (project.root / "reports" / name).read_bytes() == (finished.root / "reports" / name).read_bytes()


def test_an_unknown_parameter_stops_a_stage_before_any_work(clone: "Callable[[], Project]") -> None:
    project = clone()
    with (project.root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("\nlearning_rat: 0.1\n")
    done = project.stage("download")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "wordgaze: params.yaml: learning_rat is not a parameter\n"
    assert not {"data", "mlflow.db", ".scratch"} & {path.name for path in project.root.iterdir()}


def test_a_disk_that_fills_up_while_the_model_is_written_is_one_line_and_leaves_none(
    copied: "Callable[[], Project]",
) -> None:
    project = copied()
    for path in (project.root / "models/stage1").iterdir():
        path.unlink()
    most = 4_000_000  # bytes a file: more than the database and a checkpoint need, less than the encoder's weights

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train_stage1"],
        cwd=project.root, env=project.environment(), preexec_fn=limit, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("wordgaze: ")
    assert "File too large" in message
    assert "weights.safetensors" in message
    assert [path.name for path in (project.root / "models").iterdir() if path.name.startswith(".stage1")] == []
    assert not contents(project.root / "models/stage1")
    again = project.stage("train_stage1")  # room was made
    assert again.returncode == 0, again.stderr
