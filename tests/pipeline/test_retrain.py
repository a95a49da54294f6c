"""Corrections of forty images become a challenger by one command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wordgaze.app.corrections import Corrections
from wordgaze.core.files import sha256
from wordgaze.data.datasets.scenes import Scenes

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow

FAST = ("-S", "train_stage1.epochs=1", "-S", "train_stage2.epochs=1")


def test_corrections_of_forty_images_become_a_challenger_and_the_gate_judges_it(
    copied: "Callable[[], Project]", tmp_path: Path
) -> None:
    project = copied()
    correct(project.root, 40, tmp_path)
    planned = wordgaze(project, "retrain", *FAST, "--dry-run").stdout.splitlines()
    assert [line.split()[:2] for line in planned] == [
        ["wordgaze", "corrections"], ["wordgaze", "pack"], ["dvc", "exp"], ["wordgaze", "register"],
        ["wordgaze", "promote"],
    ]  # fmt: skip
    before = vocabulary(project.root / "models/stage2")
    assert not (project.root / "data/corrections").exists()
    done = wordgaze(project, "retrain", *FAST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 corrected captions of 40 images" in done.stdout
    assert [line for line in planned if f"]: {line}" in done.stdout or f": {line}" in done.stdout] == planned
    records = [json.loads(line) for line in (project.root / "data/raw/captions.jsonl").read_text().splitlines()]
    corrected = [record for record in records if record["image"].startswith("corrected-")]
    assert {record["split"] for record in corrected} == {"train"}
    assert len(corrected) == 40
    assert "version 1 is the champion" in done.stdout
    assert vocabulary(project.root / "models/stage2")[: len(before)] == before
    pictures = {sha256(path) for path in (project.root / "data/raw/images").glob("corrected-*")}
    assert len(pictures) == 40
    assert pictures < set((project.root / "models/stage2/training_images.txt").read_text().split())
    again = wordgaze(project, "retrain", *FAST)
    assert again.returncode == 0, again.stderr
    assert "all 5 steps are done already" in again.stdout
    assert "[" not in again.stdout


def vocabulary(captioner: Path) -> list[str]:
    words: list[str] = json.loads((captioner / "captioner.json").read_text())["vocabulary"]
    return words


def correct(root: Path, number: int, folder: Path) -> None:
    """Corrects the captions of images that the data set does not have."""
    corrections = Corrections(root / "corrections.sqlite")
    for record in Scenes(60, 64, 77).collect(folder).records[:number]:
        picture = (folder / "images" / record.image).read_bytes()
        corrections.add(picture, record.image, "a red circle", record.captions[0], "models:/captioner@champion", "1")


def wordgaze(project: "Project", *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = project.environment() | {"PYTHONPATH": str(project.root / "src")}
    command = [sys.executable, "-m", "wordgaze", *arguments]
    return subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
