"""A project with an MLflow store of its own, and a captioner that looks at brightness alone."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import wordgaze
from wordgaze.tracking import package
from wordgaze.tracking.store import silence_mlflow, telling

CAPTIONER = """
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    text: str
    log_prob: float
    score: float


class Captioner:
    @classmethod
    def load(cls, folder, device="auto"):
        captioner = cls()
        captioner.noun = json.loads((folder / "captioner.json").read_text())["noun"]
        return captioner

    def caption(self, images, decode):
        light = ["bright" if image.convert("L").getpixel((0, 0)) > 127 else "dark" for image in images]
        return [[Caption(f"{word} {self.noun} {decode.strategy} {decode.beam_width}", -2.0, -1.0)] for word in light]
"""


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrating a fresh database takes seconds: it is done once, and copied."""
    silence_mlflow()
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with telling("make an empty database"):
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


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
def captioner(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A captioner folder, models/stage2; wordgaze.captioner is the one above, here and in what is packaged."""
    code = project / "code" / "wordgaze"
    shutil.copytree(Path(wordgaze.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "captioner.py").write_text(CAPTIONER)
    monkeypatch.setattr(package, "CODE", code)
    spec = importlib.util.spec_from_file_location("wordgaze.captioner", code / "captioner.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "wordgaze.captioner", module)
    spec.loader.exec_module(module)
    return write_captioner(project / "models" / "stage2", "dog")


def write_captioner(folder: Path, noun: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "captioner.json").write_text(f'{{"noun": "{noun}"}}')
    (folder / "weights.safetensors").write_bytes(noun.encode())
    return folder


@pytest.fixture
def white_picture(project: Path) -> Path:
    path = project / "white.png"
    Image.new("RGB", (8, 8), "white").save(path)
    return path
