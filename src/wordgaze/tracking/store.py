"""The MLflow store: its location, safe opening by several processes, and its failures as TrackingError."""

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.scratch import writable_scratch
from wordgaze.tracking.experiment import artifact_location, find_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

WRITABLE = "make the store reachable and writable, or set MLFLOW_TRACKING_URI to another"
_LOCK_TIMEOUT = 60.0  # seconds to wait for other processes

_MLFLOW_DEFAULTS = {
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",  # about a minute; MLflow's 7 are four
}


@dataclass(frozen=True)
class Store:
    """An open MLflow store and the id of the experiment of all runs, "" where a store that is only read has none."""

    client: "MlflowClient"
    experiment: str


def open_store(create: bool = True) -> Store:
    """Opens the store that MLFLOW_TRACKING_URI names, else ``mlflow.db`` and ``mlartifacts`` under the project's root.

    The runs are in the experiment that MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID names, else in ``wordgaze``.
    Makes database and experiment where they are missing. With ``create=False`` it writes nothing and takes no lock,
    and a missing database is a TrackingError. So is an experiment that is deleted or whose id is unknown.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not (create or given or _database().exists()):
        raise TrackingError(
            f"there is no MLflow database {_database()}; run `dvc repro` here, or set MLFLOW_TRACKING_URI"
        )
    configure_mlflow()
    import mlflow

    with translate_errors("open the store"), lock() if create else nullcontext():
        if not given:
            _prepare(_database()) if create else _probe_reading(_database())
        mlflow.set_tracking_uri(given or address())
        if not given:  # set_tracking_uri exports it, and the next call would take it for the user's setting
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient()
        return Store(client, find_experiment(client, address(), create))


def configure_mlflow() -> None:
    """Turns off MLflow's log, progress bars, links and telemetry, unless environment variables ask for them.

    MLflow reads the level when it is imported, so call this first. MLflow logs an error with a page of traceback
    before it raises it; :func:`translate_errors` reports it in one line.
    """
    for name, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


def address() -> str:
    """The address of the store, as MLflow writes it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or database_address(_database())


def database_address(database: Path) -> str:
    """The address of a SQLite database. SQLAlchemy decodes ``%`` and ends the path at ``?``, so both are encoded.

    MLflow makes the parent folders of a ``sqlite:///`` address without decoding it. It leaves out the addresses that
    name the driver, so an encoded path gets one.
    """
    path = database.as_posix()
    encoded = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}" if encoded == path else f"sqlite+pysqlite:///{encoded}"


def local_database() -> Path | None:
    """The file of the store, or None if the store is not a SQLite database."""
    match = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]*)", address())
    return Path(unquote(match[1])) if match else None


def lacks_alias(name: str, alias: str) -> bool:
    """Whether the database is a local one that certainly has no model of this name with this alias.

    It is asked without MLflow, whose import takes longer than captioning an image. Whatever is unexpected counts as
    uncertain and is left to MLflow.
    """
    path = local_database()
    if path is None:
        return False
    query = "SELECT 1 FROM registered_model_aliases WHERE name = ? AND alias = ?"
    try:
        with _reading(path) as connection:
            return connection.execute(query, (name, alias)).fetchone() is None
    except sqlite3.Error as error:
        return "no such table" in str(error)  # the first stage has not filled it yet


def lock() -> FileLock:
    """A lock to hold while something is looked up or else created, so that it is created once. It cannot be nested."""
    return FileLock(writable_scratch("mlflow.lock"), timeout=_LOCK_TIMEOUT)


@contextmanager
def translate_errors(action: str, remedy: str = WRITABLE) -> Iterator[None]:
    """Raises errors of MLflow, of the database and of the disk as TrackingError, in one line.

    ``action`` completes "MLflow cannot …"; ``remedy`` is the way out. Warnings that MLflow raises about its own code
    do not concern a user and are dropped.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="mlflow")
            yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        line = f"MLflow cannot {action} ({address()}): {reason}; {remedy}"
        raise TrackingError(re.sub(r"//[^/@\s]*@", "//", line)) from error  # the address may contain a password


def quoted(value: str) -> str:
    """A string literal of MLflow's filter language."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _database() -> Path:
    return paths.home() / "mlflow.db"


def _prepare(database: Path) -> None:
    """Makes the tables of a new database. Raises an error of SQLite where the database cannot be written."""
    # MLflow tries for 100 seconds to open a database that cannot be opened; SQLite reports the cause at once.
    with closing(sqlite3.connect(database, timeout=_LOCK_TIMEOUT)) as connection:
        connection.execute("BEGIN IMMEDIATE")
    if not os.access(database, os.W_OK):  # SQLite reports it at the first write only
        raise TrackingError(f"the MLflow database {database} is read-only; {WRITABLE}")
    if database.stat().st_size == 0:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        # MLflow's client would put the artifacts of its default experiment below the working directory, and it writes
        # that path unquoted into SQL.
        SqlAlchemyStore(database_address(database), artifact_location())  # type: ignore[no-untyped-call]


def _probe_reading(database: Path) -> None:
    """Opens the database without a write. Raises TrackingError for a database that MLflow would have to fill first."""
    with _reading(database) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            raise TrackingError(
                f"the MLflow database {database} is empty; run `dvc repro` here, or set MLFLOW_TRACKING_URI"
            )


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection
