"""A project with an MLflow store of its own, a tiny captioner in it, and MLflow's server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

MLFLOW = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")
PATIENCE = 180  # seconds; the server imports all of MLflow


@pytest.fixture
def fresh_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit and params.yaml, as a stage that DVC runs sees it."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in (*MLFLOW, "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
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


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """``mlflow server`` on a free port of this machine, over ``folder/mlflow.db``; it keeps the artifacts itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name not in MLFLOW}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"],
            cwd=folder, stdout=log, stderr=log, env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {address}: {log.read_text()}")
