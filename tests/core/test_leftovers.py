"""A later run removes what a killed process has left, and nothing of one that runs."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from wordgaze.core import leftovers
from wordgaze.core.files import atomic_directory, write_text
from wordgaze.core.leftovers import (
    NEW,
    OLD,
    is_abandoned,
    is_temporary,
    owner,
    remove_leftovers,
    temporary_folder,
    temporary_name,
)

SOURCE = Path(__file__).parents[2] / "src"
KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from wordgaze.core.files import atomic_directory, atomic_write
from wordgaze.core.leftovers import temporary_folder
tempfile.tempdir = sys.argv[2]
with atomic_write(Path(sys.argv[1], "file.txt")), atomic_directory(Path(sys.argv[1], "folder")) as folder:
    (folder / "half").touch()
    with temporary_folder():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def ended() -> str:
    """The name of a process that has ended."""
    machine, _, started, rest = owner().split("-")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{machine}-{process.pid}-{started}-{rest}"


@pytest.fixture(autouse=True)
def _not_cleaned_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_cleaned", set())


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(tmp_path / "tmp")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sum(is_temporary(path) for path in tmp_path.iterdir()) == 2
    assert sum(is_temporary(path) for path in (tmp_path / "tmp").iterdir()) == 1
    write_text(tmp_path / "file.txt", "whole")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with temporary_folder() as folder:
        assert [path.name for path in (tmp_path / "tmp").iterdir()] == [folder.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_servers_temporary_files_are_in_its_folder_and_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder(for_all=True) as folder:
        assert folder.parent == tmp_path.resolve() and not folder.name.startswith(".")
        assert folder.stat().st_mode & 0o077 == 0
        with tempfile.NamedTemporaryFile() as file:
            assert Path(file.name).parent == folder
        (folder / "left.txt").write_text("left")
    assert (list(tmp_path.iterdir()), tempfile.gettempdir()) == ([], str(tmp_path))


def test_files_of_a_process_that_runs_are_kept(tmp_path: Path) -> None:
    mine = temporary_name(tmp_path / "notes.txt", suffix=".txt")
    mine.touch()
    remove_leftovers(tmp_path)
    assert mine.exists()


def test_a_folder_that_was_moved_aside_and_not_replaced_comes_back(tmp_path: Path) -> None:
    """The process was killed between the two renames: the old folder is the only one."""
    aside = tmp_path / f".model.{OLD}-{ended()}"
    aside.mkdir()
    (aside / "weights").touch()
    half = tmp_path / f".model.{NEW}-{ended()}"
    half.mkdir()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").exists()


def test_a_process_id_that_was_given_again_is_another_process() -> None:
    machine, process, started, rest = owner().split("-")
    assert not is_abandoned(owner(), Path("any"))
    assert is_abandoned(f"{machine}-{process}-{int(started) - 1}-{rest}", Path("any"))
    assert not is_abandoned("holiday-2024-06-photos", Path("any"))


def test_a_file_of_another_machine_is_removed_when_it_is_old(tmp_path: Path) -> None:
    _, process, started, rest = owner().split("-")
    other = tmp_path / f".notes.{NEW}-ffffff-{process}-{started}-{rest}"
    other.touch()
    remove_leftovers(tmp_path)
    assert other.exists()
    week = time.time() - 8 * 24 * 3600
    os.utime(other, (week, week))
    leftovers._cleaned.clear()
    remove_leftovers(tmp_path)
    assert not other.exists()


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".txt")
    write_text(path, "text")
    assert path.read_text() == "text"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_two_processes_that_replace_a_folder_at_the_same_time_both_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename, times = tmp_path / "folder", os.rename, iter(range(10))

    def raced(source: Path, target: Path) -> None:
        if Path(target) == path and next(times) == 0:  # another process moves its own in first
            path.mkdir()
            (path / "other").touch()
        rename(source, target)

    monkeypatch.setattr(os, "rename", raced)
    with atomic_directory(path) as temporary:
        (temporary / "mine").touch()
    assert [each.name for each in path.iterdir()] == ["mine"]
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
