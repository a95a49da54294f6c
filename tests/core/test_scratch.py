"""The same work is not done twice at the same time in one folder."""

import os
import threading
from pathlib import Path

import pytest

from wordgaze.core.errors import DataError
from wordgaze.core.scratch import exclusive, shared_scratch


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


def test_a_second_process_waits_for_the_first_one_and_finds_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    caplog.set_level("INFO")
    found: list[str] = []

    def second() -> None:
        with shared_scratch("work") as folder:
            found.extend(path.name for path in folder.iterdir())

    waiting = threading.Thread(target=second)
    with shared_scratch("work") as folder:
        waiting.start()
        while "waits for its end" not in caplog.text:
            assert waiting.is_alive()
        assert not found
        (folder / "result").touch()
    waiting.join()
    assert found == ["result"]
    assert not folder.exists()
    assert f"another process computes the same, in {folder}; waits for its end" in caplog.text


def test_what_failed_is_kept_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(ValueError, match="half-way"), shared_scratch("work") as folder:
        (folder / "half").touch()
        raise ValueError("half-way")
    with shared_scratch("work") as again:
        assert (again / "half").exists()
    assert not again.exists()
