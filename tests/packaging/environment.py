"""A fresh virtual environment outside the checkout, with the wheel and the packages that it asks for."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the folder that its commands run in."""

    root: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment; nothing of the checkout or of this environment is in its way."""
        aside = ("PYTHON", "VIRTUAL_ENV", "COVERAGE_", "DVC_", "MLFLOW_", "GIT_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(aside)}
        own = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_TEST": "1",  # DVC looks for no newer version
            "DVC_SITE_CACHE_DIR": str(self.root / "dvc"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            **{
                f"GIT_{role}_{key}": "someone@example.org"
                for role in ("AUTHOR", "COMMITTER")
                for key in ("NAME", "EMAIL")
            },
        }
        return subprocess.run(
            [self.bin / command, *arguments],
            cwd=self.folder,
            env=kept | own,
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self, command: str, *arguments: str) -> str:
        """What a command prints, which must succeed."""
        done = self.run(command, *arguments)
        assert done.returncode == 0, f"{command} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def install(self, wheel: Path, extras: Iterable[str] = ()) -> None:
        """Installs the wheel, and from requirements.lock what it asks for with these extras, and nothing else.

        uv links the packages from its cache, which ``make setup`` has filled; what the cache lacks comes from the
        package index. Where neither has them, the test is skipped, but on CI it fails.
        """
        lock = self.root / "needed.lock"
        lock.write_text("\n".join(locked(wanted(extras))) + "\n", encoding="utf-8")
        packages = ("--no-deps", "--require-hashes", "--requirement", str(lock))
        done = self._pip("install", "--offline", *packages)
        done = self._pip("install", *packages) if done.returncode else done
        if done.returncode and "CI" not in os.environ:
            pytest.skip(f"uv has no packages to install, in its cache or from an index: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
        done = self._pip("install", "--offline", "--no-deps", "--reinstall", str(wheel))
        assert done.returncode == 0, done.stderr
        checked = self._pip("check")  # every requirement of every package is met
        assert checked.returncode == 0, checked.stderr

    def _pip(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        call = [UV, "pip", command, "--python", self.bin / "python", *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=False)


def build_wheel(folder: Path) -> Path:
    """Builds the wheel of this checkout; needs no network."""
    command = [UV, "build", "--wheel", "--no-build-isolation", "--offline", "--quiet", "--out-dir", folder, CHECKOUT]
    subprocess.run(command, check=True, env=os.environ | {"VIRTUAL_ENV": sys.prefix})
    [wheel] = folder.glob("*.whl")
    return wheel


def create_environment(root: Path, folder: Path) -> Environment:
    subprocess.run([UV, "venv", "--quiet", "--offline", "--python", sys.executable, root], check=True)
    return Environment(root, folder)


def wanted(extras: Iterable[str]) -> set[str]:
    """The names of all packages that wordgaze needs on this machine with these extras, direct or not."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    waiting, seen = [Requirement(text) for text in direct], set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            waiting += [needed for needed in requirements(requirement.name) if holds(needed, extra)]
    return {name for name, _ in seen}


def requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in distribution(name).requires or ()]
    except PackageNotFoundError:  # of another operating system
        return []


def holds(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def locked(names: set[str]) -> list[str]:
    """The entries of requirements.lock with these names, with versions and hashes."""
    entries = re.split(r"\n(?=\S)", (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").strip())
    return [entry for entry in entries if canonicalize_name(re.split(r"[=\[; ]", entry, maxsplit=1)[0]) in names]
