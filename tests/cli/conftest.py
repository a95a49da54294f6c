"""Runs the command line in this process, in an empty folder."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.cli import main

CHECKOUT = Path(__file__).parents[2]

Run = Callable[..., tuple[int, str, str]]
"""``run(*arguments)`` gives exit code, stdout and stderr, without the line that names the default captioner."""
Refused = Callable[..., str]
"""``refused(*arguments)`` gives the one line of stderr, without ``wordgaze: ``."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``wordgaze`` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wordgaze", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("captioner: ")]
        return int(stop.value.code or 0), out, "".join(lines)

    return run


@pytest.fixture
def refused(run: Run) -> Refused:
    """As ``run``, for a command that fails with one line."""

    def refused(*arguments: object) -> str:
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("wordgaze: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("wordgaze: ").strip()

    return refused


def files() -> list[str]:
    """The names in the working directory."""
    return sorted(path.name for path in Path().iterdir())
