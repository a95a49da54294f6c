"""A small project of this checkout in which everything has run, for the campaigns that need DVC."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Project, write_project


@contextmanager
def miniature(given: Path | None = None) -> Iterator[Project]:
    """A copy of the project ``given``, or a new one after one ``dvc repro``, committed; deleted at the end."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="wordgaze-campaign-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "project"
        if given is not None:
            aside = shutil.ignore_patterns("__pycache__", "mlflow.db*", "mlartifacts", ".scratch", ".venv", "tmp")
            shutil.copytree(given.resolve(), root, ignore=aside, symlinks=True)
            yield Project(root)
            return
        root.mkdir()
        project = write_project(root)
        project.dvc("repro")
        project.git("add", "-A")
        project.git("commit", "-q", "-m", "run")
        yield project
