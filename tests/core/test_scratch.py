"""The same work is not done twice at the same time in one folder."""

import os
from pathlib import Path

import pytest

from wordgaze.core.errors import DataError
from wordgaze.core.scratch import exclusive


def test_a_stage_that_is_running_is_not_started_again_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("project", "experiment"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    with exclusive("features", "features"):
        with pytest.raises(DataError, match=r"another process runs features in .*project; wait for its end"):
            exclusive("features", "features").__enter__()
        with exclusive("prepare", "prepare"):
            pass
        os.chdir(tmp_path / "experiment")
        with exclusive("features", "features"):  # a queued experiment has a folder of its own
            pass
    os.chdir(tmp_path / "project")
    with exclusive("features", "features"):
        pass
