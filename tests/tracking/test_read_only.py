"""A project that cannot be written is read without a lock, a scratch folder or a copy."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disk import obey_permissions, read_only
from wordgaze.core import paths
from wordgaze.core.scratch import writable_scratch
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.promotion import promote
from wordgaze.tracking.registry import register
from wordgaze.tracking.runs import stage_run

SOURCE = Path(__file__).parents[2] / "src"
COMMANDS = """
import contextlib, io, json, sys
from wordgaze.cli import main

results = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["wordgaze", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


def commands(root: Path, *arguments: list[str]) -> list[tuple[int, str, str]]:
    """Runs commands in one process that has to obey the permissions: their exit codes, outputs and errors."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMANDS, json.dumps(arguments)],
        cwd=root, env=os.environ | {"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False,
        preexec_fn=obey_permissions,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


def test_a_read_only_project_is_read(
    captioner: Path,
    white_picture: Path,
    write_captioner: Callable[..., Path],
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with stage_run("evaluate", {}) as run:
        run.tag("dataset", "scenes")
        run.tag("evaluated_on.fingerprint", "one")
        log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5})
    register()
    promote(force=True, reason="the first")
    (project / ".scratch/mlflow.lock").unlink(missing_ok=True)
    (project / ".scratch").rmdir()  # nothing was copied there
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    picture = str(white_picture)
    with read_only(project):
        *read, _, _, _ = refused = commands(
            project,
            ["caption", picture, "--output", str(elsewhere / "a.csv")],
            ["corrections", "list"],
            ["register"],
            ["caption", picture, "--model", "models/stage2", "--output", "new.csv"],
            ["init", "new"],
        )
    assert [code for code, _, _ in read] == [0] * 2, read
    assert "models:/captioner@champion" in read[0][2]
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before
    for (code, _, error), message in zip(
        refused[2:],
        (
            "mlflow.db is read-only; make the store reachable and writable, or set MLFLOW_TRACKING_URI to another",
            "Permission denied: new.csv; choose a place that you can write, or change its permissions",
            "Permission denied: new; choose a place that you can write, or change its permissions",
        ),
        strict=True,
    ):
        assert code == 1
        assert error.splitlines()[-1].endswith(message)


def test_what_has_to_be_kept_is_kept_in_a_private_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert writable_scratch("fetched") == paths.scratch("fetched")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    private = writable_scratch("fetched").parent
    assert private.parent == temporary
    assert private.stat().st_mode & 0o777 == 0o700
    assert writable_scratch("fetched").parent == private
    private.rmdir()
    private.symlink_to(tmp_path)  # somebody else's, for example
    with pytest.raises(PermissionError, match="belongs to another user"):
        writable_scratch("fetched")
