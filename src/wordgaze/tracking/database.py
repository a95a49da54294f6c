"""The SQLite file of a local MLflow store: made whole or not at all, checked before it is written, and mended.

MLflow migrates a new database in some sixty steps. A process that is killed meanwhile would leave a file that neither
MLflow's client nor ``mlflow db upgrade`` can use.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.experiment import artifact_location

DATABASE_TIMEOUT = 60.0
"""Seconds to wait for other processes."""
MEND = "run `wordgaze doctor --fix`, which rebuilds it from what can be read and keeps the damaged file"

_CONTENT = ("runs", "registered_models", "trace_info", "evaluation_datasets", "webhooks")
_log = logging.getLogger(__name__)


def database_address(database: Path) -> str:
    """The address of a SQLite database. SQLAlchemy decodes ``%`` and ends the path at ``?``, so both are encoded.

    MLflow makes the parent folders of a ``sqlite:///`` address without decoding it. It leaves out the addresses that
    name the driver, so an encoded path gets one.
    """
    path = database.as_posix()
    encoded = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}" if encoded == path else f"sqlite+pysqlite:///{encoded}"


def prepare_database(database: Path, remedy: str) -> None:
    """Makes a new database, or checks the one that is there; ``remedy`` is the way out of one that is read-only.

    An unfinished database without content, as an interrupted first start leaves it, is replaced. Raises an error of
    SQLite where the database cannot be opened, TrackingError where it is damaged or of another version of MLflow. Call
    it under the lock.
    """
    # MLflow tries for 100 seconds to open a database that cannot be opened; SQLite reports the cause at once.
    with closing(sqlite3.connect(database, timeout=DATABASE_TIMEOUT)) as connection:
        connection.execute("BEGIN IMMEDIATE")
    if not os.access(database, os.W_OK):  # SQLite reports it at the first write only
        raise TrackingError(f"the MLflow database {database} is read-only; {remedy}")
    if database.stat().st_size == 0:
        _make(database)
        return
    if fault := find_damage(database):
        raise TrackingError(f"the MLflow database {database} is damaged ({fault}); {MEND}")
    if not _is_current(database):
        if _has_content(database):
            raise TrackingError(_other_version(database))
        aside = set_aside(database, "unfinished")
        _log.warning("%s was not finished by an earlier start; it is now %s, and a new one is made", database, aside)
        _make(database)


def probe_reading(database: Path) -> None:
    """Checks a database without a write. Raises TrackingError for one that MLflow would have to fill or change."""
    with reading(database) as connection:
        is_empty = not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    if is_empty or not (_is_current(database) or _has_content(database)):
        state = "empty" if is_empty else "not finished"
        raise TrackingError(
            f"the MLflow database {database} is {state}; run `dvc repro` here, or set MLFLOW_TRACKING_URI"
        )
    if not _is_current(database):
        raise TrackingError(_other_version(database))


def find_damage(database: Path, thorough: bool = False) -> str:
    """What SQLite finds wrong in the file, in one line; "" for a sound one. ``thorough`` compares the indexes too.

    SQLite keeps no checksums: another digit in a score, or another letter in a name, is not found.
    """
    try:
        with reading(database) as connection:
            [first] = connection.execute(f"PRAGMA {'integrity' if thorough else 'quick'}_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise  # it is locked, or cannot be opened
        return str(error)
    return "" if first == "ok" else " ".join(str(first).split())


def rebuild_database(database: Path) -> tuple[Path, int]:
    """Makes the database again from the rows that can be read. Call it under the lock.

    Returns the path of the damaged file, which is kept, and the number of runs in the new one.
    """
    aside = set_aside(database, "damaged")
    _make(database)
    with closing(sqlite3.connect(database)) as new:
        for (table,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not table.startswith(("alembic_", "sqlite_")):
                _copy_rows(aside, new, table)
        new.commit()
        return aside, int(new.execute("SELECT count(*) FROM runs").fetchone()[0])


def set_aside(path: Path, why: str) -> Path:
    """Renames a file to the first free one of ``name.why``, ``name.why2``, …; a database's journal goes with it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}{number if number > 1 else ''}")).exists():
        number += 1
    os.replace(path, aside)
    for suffix in ("-journal", "-wal", "-shm"):  # SQLite finds it by the name of its database
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing, not even the file."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=DATABASE_TIMEOUT)) as connection:
        yield connection


def _make(database: Path) -> None:
    """Makes the tables in a temporary file beside it, which then takes the database's name."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    temporary = database.with_name(f"{database.name}.new")
    _delete(temporary)  # of a process that was killed here
    try:
        # MLflow's client would put the artifacts of its default experiment below the working directory, and it writes
        # that path unquoted into SQL.
        SqlAlchemyStore(database_address(temporary), artifact_location())  # type: ignore[no-untyped-call]
        for path in (temporary, database):  # MLflow keeps connections open, also those to a file that was here before
            if engine := SqlAlchemyStore._engine_map.get(database_address(path)):
                engine.dispose()
        os.replace(temporary, database)
    finally:
        _delete(temporary)


def _delete(database: Path) -> None:
    for path in (database, Path(f"{database}-journal")):
        path.unlink(missing_ok=True)


def _is_current(database: Path) -> bool:
    from mlflow.store.db.utils import _get_latest_schema_revision

    latest: str = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    return _revision(database) == latest


def _revision(database: Path) -> str:
    with reading(database) as connection, suppress(sqlite3.OperationalError):  # no such table
        for (revision,) in connection.execute("SELECT version_num FROM alembic_version"):
            return str(revision)
    return ""


def _has_content(database: Path) -> bool:
    """Whether the database has anything that a person or a stage has put there."""
    with reading(database) as connection:
        for table, condition in [*((name, "1") for name in _CONTENT), ("experiments", "experiment_id != 0")]:
            with suppress(sqlite3.OperationalError):  # no such table
                if connection.execute(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1").fetchone():  # nosec B608
                    return True
    return False


def _other_version(database: Path) -> str:
    revision = _revision(database) or "none"
    return (
        f"the MLflow database {database} has the schema of another version of MLflow ({revision}); "
        f"copy the file, then run `mlflow db upgrade {database_address(database)}`, or set MLFLOW_TRACKING_URI"
    )


def _copy_rows(source: Path, new: sqlite3.Connection, table: str) -> None:
    """Copies what can be read of a table, from both of its ends up to the first damaged page."""
    columns = [row[1] for row in new.execute(f'PRAGMA table_info("{table}")')]
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    for order in ("rowid", "rowid DESC"):
        with suppress(sqlite3.DatabaseError), reading(source) as old:
            for row in old.execute(f'SELECT {names} FROM "{table}" ORDER BY {order}'):  # nosec B608
                with suppress(sqlite3.Error):
                    new.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) VALUES ({marks})', row)  # nosec B608


def path_of_address(address: str) -> str | None:
    """The encoded path in the address of a SQLite database; None for another address."""
    match = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]*)", address)
    return match[1] if match else None
