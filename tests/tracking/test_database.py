"""A database that a kill has left half-made, or a disk has damaged."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import wordgaze
from wordgaze.core.errors import TrackingError
from wordgaze.tracking.database import find_damage
from wordgaze.tracking.doctor import check_database, mend_database
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store


def execute(database: Path, *commands: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for command in commands:
            connection.execute(command)
        connection.commit()


def leave_unfinished(database: Path) -> None:
    """As a kill in the midst of the migrations: tables are missing, and the revision is an older one."""
    execute(
        database,
        "DROP TABLE spans",
        "DELETE FROM experiments",
        "CREATE TABLE _alembic_tmp_experiments (name TEXT)",
        "UPDATE alembic_version SET version_num = 'c8d9e0f1a2b3'",
    )


def test_an_unfinished_database_is_replaced(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave_unfinished(project / "mlflow.db")
    with pytest.raises(TrackingError, match=r"mlflow\.db is not finished; run `dvc repro` here"):
        open_store(create=False)
    with stage_run("prepare", {}) as run:
        pass
    assert run.client.get_run(run.run_id).info.status == "FINISHED"
    assert (project / "mlflow.db.unfinished").is_file()
    assert "a new one is made" in caplog.text


def test_a_database_of_another_version_with_runs_is_left_as_it_is(project: Path) -> None:
    with stage_run("prepare", {}):
        pass
    execute(project / "mlflow.db", "UPDATE alembic_version SET version_num = 'c8d9e0f1a2b3'")
    before = (project / "mlflow.db").read_bytes()
    for create in (True, False):
        with pytest.raises(TrackingError, match=r"copy the file, then run `mlflow db upgrade sqlite:///") as caught:
            open_store(create)
        assert "\n" not in str(caught.value)
    assert (project / "mlflow.db").read_bytes() == before


def test_a_kill_during_the_first_start_leaves_no_half_made_database(fresh_project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(wordgaze.__file__).parents[1])}
    command = "from wordgaze.tracking.store import open_store; open_store()"
    first = subprocess.Popen([sys.executable, "-W", "ignore", "-c", command], env=environment)
    end = time.monotonic() + 120
    while not list(fresh_project.glob("mlflow.db.new")) and time.monotonic() < end:
        time.sleep(0.005)
    first.kill()
    first.wait()
    assert (fresh_project / "mlflow.db").stat().st_size == 0
    shutil.rmtree(fresh_project / ".scratch")
    with stage_run("prepare", {}):
        pass
    assert {path.name for path in fresh_project.glob("mlflow.db*")} == {"mlflow.db"}


@pytest.mark.parametrize("place", ["an index", "the header"])
def test_a_damaged_database_is_named_and_rebuilt(project: Path, place: str) -> None:
    database = project / "mlflow.db"
    with stage_run("prepare", {"prepare": {"min_count": 7}}) as run:
        run.metrics({"images": 60.0})
    assert check_database() == ""
    damage(database, place)
    for create in (True, False) if place == "the header" else (True,):
        with pytest.raises(TrackingError, match="run `wordgaze doctor --fix`"):
            open_store(create)
    assert "is damaged" in check_database()
    damaged = database.read_bytes()
    number = 2 if place == "an index" else 0
    assert f"the new one has {number} runs" in mend_database()
    assert Path(f"{database}.damaged").read_bytes() == damaged
    assert check_database() == ""
    if number:
        found = open_store(create=False).client.get_run(run.run_id).data
        assert (found.params["prepare.min_count"], found.metrics["images"]) == ("7", 60.0)
    with stage_run("features", {}):
        pass


def damage(database: Path, place: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        name = "sqlite_autoindex_runs_1"
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
    content = bytearray(database.read_bytes())
    start = (root - 1) * page_size if place == "an index" else 0
    content[start] ^= 0x40  # the kind of the page, or the first letter of "SQLite format 3"
    database.write_bytes(content)


def test_a_changed_index_is_found_by_the_thorough_check(project: Path) -> None:
    with stage_run("prepare", {}) as run:
        pass
    database = project / "mlflow.db"
    content = database.read_bytes()
    places = [match.start() for match in re.finditer(run.run_id.encode(), content)]
    found = []
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1
        database.write_bytes(flipped)
        found.append(bool(find_damage(database, thorough=True)))
    assert any(found)
