"""The Makefile: what ``make clean`` keeps, and that nothing is installed on the system unless CI runs as root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not on the PATH")


def make(folder: Path, target: str, **environment: str) -> str:
    shutil.copy(CHECKOUT / "Makefile", folder)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [str(MAKE), target], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"Makefile"}


def test_clean_keeps_what_was_downloaded(tmp_path: Path) -> None:
    kept = {".scratch/downloads/a.zip", "data/raw/images/a.jpg", "data/.gitkeep", "mlflow.db", ".venv/bin/python"}
    computed = {".scratch/training-1/checkpoint", "data/features/a", "data/prepared/a", "models/stage1/a", "site/a"}
    for name in kept | computed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    make(tmp_path, "clean")
    assert files(tmp_path) == kept
    make(tmp_path, "distclean")
    assert files(tmp_path) == {"data/.gitkeep", "mlflow.db"}


@pytest.mark.parametrize(
    ("user", "environment", "installs"), [(0, {}, False), (1, {"CI": "true"}, False), (0, {"CI": "true"}, True)]
)
def test_a_browser_is_installed_by_ci_alone(
    tmp_path: Path, user: int, environment: dict[str, str], installs: bool
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (("id", f"echo {user}"), ("apt-get", f'echo "$@" >> {tmp_path}/asked')):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    shown = make(tmp_path, "browser", PATH=str(programs), **environment)
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("install --no-install-recommends chromium" in asked) == installs
    assert ("apt-get install chromium" in shown) == (not installs)


@pytest.mark.parametrize("name", ["chromium", "google-chrome"])
def test_a_browser_that_is_there_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    assert make(tmp_path, "browser", PATH=str(tmp_path)) == ""


@pytest.mark.parametrize("with_git", [False, True])
def test_an_unpacked_archive_of_the_repository_works_without_git(tmp_path: Path, with_git: bool) -> None:
    """Plain ``dvc`` refuses a folder that is not a git repository."""
    (tmp_path / ".dvc").mkdir()
    for name in ("requirements.lock", "pyproject.toml", ".venv/.ready"):  # the environment is there
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dvc.yaml").write_text("stages:\n  hello:\n    cmd: echo well\n")
    if with_git:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shown = make(tmp_path, "repository", PATH=path)
    assert ("DVC works without one" in shown) != with_git
    assert make(tmp_path, "repository", PATH=path) == ""
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], cwd=tmp_path, capture_output=True, text=True
    )
    assert listed.stdout.split() == ["hello"], listed.stderr


UV = """#!/bin/sh
echo "$@" >> uv-calls
"""


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A folder with what ``make setup`` needs, and a uv that writes down how it was called."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(CHECKOUT / "deploy" / "constraints.py", tmp_path / "deploy")
    lock = ("torch==2.0 \\", "    --hash=sha256:1", "nvidia-nccl==2.0 \\", "    --hash=sha256:2", "rich==3.0 \\")
    (tmp_path / "requirements.lock").write_text("\n".join((*lock, "    --hash=sha256:3", "")))
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "bin" / "uv").write_text(UV)
    (tmp_path / ".venv" / "bin" / "uv").chmod(0o755)
    return tmp_path


def calls(folder: Path) -> list[str]:
    path = folder / "uv-calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_an_environment_without_gpu_libraries_is_remembered(installation: Path) -> None:
    shown = make(installation, "setup")
    assert "4.6 GB are for GPUs; TORCH_BACKEND=cpu make leaves those out" in shown
    assert [line.split()[-1] for line in calls(installation)] == ["requirements.lock", "."]
    make(installation, "setup", TORCH_BACKEND="cpu")
    [rest, torch, _] = calls(installation)
    assert rest.endswith("--require-hashes .venv/hashed.txt")
    assert torch.endswith("--torch-backend cpu --requirement .venv/torch.txt")
    assert (installation / ".venv" / "hashed.txt").read_text() == "rich==3.0 \\\n    --hash=sha256:3\n"
    assert (installation / ".venv" / "torch.txt").read_text() == "torch==2.0\n"
    make(installation, "setup")
    assert calls(installation) == []


def test_another_python_than_that_of_the_environment_is_refused(installation: Path) -> None:
    make(installation, "setup", PYTHON=sys.executable)
    other = installation / "other"
    other.write_text("#!/bin/sh\necho 3.99\n")
    other.chmod(0o755)
    done = subprocess.run([str(MAKE), "setup", f"PYTHON={other}"], cwd=installation, capture_output=True, text=True)
    assert done.returncode != 0
    there = "{}.{}".format(*sys.version_info)
    expected = f".venv has Python {there}, and PYTHON={other} is Python 3.99; rm -r .venv, or leave PYTHON out"
    assert expected in done.stderr.splitlines()


def test_help_lists_every_target(tmp_path: Path) -> None:
    shown = make(tmp_path, "help")
    lines = (CHECKOUT / "Makefile").read_text(encoding="utf-8").splitlines()
    phony = {line.removeprefix(".PHONY: ") for line in lines if line.startswith(".PHONY: ")}
    assert {line.split()[1] for line in shown.splitlines() if line.startswith("make ")} == phony - {
        "browser",
        "interpreter",
        "repository",
        "web-runtime",
    }


def test_ci_runs_make_test_and_nothing_else() -> None:
    lines = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "make" in line] == ["make test"]
