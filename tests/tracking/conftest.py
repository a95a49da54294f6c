"""A project with an MLflow store of its own, and a tiny captioner in it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def fresh_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit and params.yaml, as a stage that DVC runs sees it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    author = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    return tmp_path


@pytest.fixture
def project(fresh_project: Path, empty_database: Path) -> Path:
    """As ``fresh_project``, with a database that has its tables and nothing in them."""
    shutil.copy(empty_database, fresh_project / "mlflow.db")
    return fresh_project


@pytest.fixture
def captioner(project: Path, write_captioner: Callable[..., Path]) -> Path:
    """A captioner folder, models/stage2."""
    return write_captioner(project / "models" / "stage2")


@pytest.fixture
def white_picture(project: Path) -> Path:
    path = project / "white.png"
    Image.new("RGB", (8, 8), "white").save(path)
    return path
