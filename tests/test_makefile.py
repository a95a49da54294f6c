"""``make clean`` keeps what is expensive to get again, and ``make test`` installs nothing without being asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(folder: Path, target: str, **environment: str) -> str:
    command = [str(MAKE), "--no-print-directory", "-f", str(MAKEFILE), target]
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "MAKEFLAGS", "MFLAGS")}
    done = subprocess.run(command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return done.stdout


def test_clean_keeps_the_data_set_and_the_downloads(tmp_path: Path) -> None:
    kept = ["data/raw/images/a.jpg", ".scratch/downloads/big.zip", ".dvc/cache/files/a", "mlflow.db"]
    computed = ["data/prepared/a", "data/features/a", "models/stage1/a", "models/stage2/a", ".scratch/training-1/a"]
    for name in kept + computed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    make(tmp_path, "clean")
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert [name for name in computed if (tmp_path / name).exists()] == []


@pytest.mark.parametrize("ci", [False, True])
def test_a_browser_is_installed_in_ci_alone(tmp_path: Path, ci: bool) -> None:
    """With stand-ins for ``apt-get`` and ``id``, and no browser on the PATH."""
    for name, script in {"apt-get": f"echo $@ >> {tmp_path}/asked", "id": "echo 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    shown = make(tmp_path, "browser", PATH=str(tmp_path), **({"CI": "true"} if ci else {}))
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("install" in asked) is ci
    assert ("will be skipped" in shown) is not ci


def test_the_help_generates_what_ci_installs(tmp_path: Path) -> None:
    assert "With CI=true and as root it" in make(tmp_path, "help")
