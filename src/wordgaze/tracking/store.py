"""The MLflow store: its location, safe opening by several processes, and its failures as TrackingError."""

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError
from wordgaze.core.interruption import check_interruption
from wordgaze.core.scratch import writable_scratch
from wordgaze.tracking.database import MEND, database_address, path_of_address, prepare_database, probe_reading, reading
from wordgaze.tracking.experiment import find_experiment
from wordgaze.tracking.killed import end_killed_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

WRITABLE = "make the store reachable and writable, or set MLFLOW_TRACKING_URI to another"
_LOCK_TIMEOUT = 60.0  # seconds to wait for other processes
_CREDENTIALS = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to ones that may"
_REMEDIES = {
    "malformed": MEND,
    "not a database": MEND,
    "error code 401": _CREDENTIALS,
    "error code 403": _CREDENTIALS,
    "not authenticated": _CREDENTIALS,
}
"""Parts of messages of MLflow and SQLite, and the way out of what they report."""

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
    Makes database and experiment where they are missing, and marks the runs of killed processes as KILLED. With
    ``create=False`` it writes nothing and takes no lock, and a missing database is a TrackingError. So is an experiment
    that is deleted or whose id is unknown.
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
            prepare_database(_database(), WRITABLE) if create else probe_reading(_database())
        mlflow.set_tracking_uri(given or address())
        if not given:  # set_tracking_uri exports it, and the next call would take it for the user's setting
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient()
        experiment = find_experiment(client, address(), create)
        if create:
            end_killed_runs(client, experiment)
        return Store(client, experiment)


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


def local_database() -> Path | None:
    """The file of the store, or None if the store is not a SQLite database."""
    path = path_of_address(address())
    return None if path is None else Path(unquote(path))


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
        with reading(path) as connection:
            return connection.execute(query, (name, alias)).fetchone() is None
    except sqlite3.Error as error:
        return "no such table" in str(error)  # the first stage has not filled it yet


def lock() -> FileLock:
    """A lock to hold while something is looked up or else created, so that it is created once. It cannot be nested."""
    return FileLock(writable_scratch("mlflow.lock"), timeout=_LOCK_TIMEOUT)


@contextmanager
def translate_errors(action: str, remedy: str = WRITABLE) -> Iterator[None]:
    """Raises errors of MLflow, of the database and of the disk as TrackingError, in one line. After Ctrl-C or SIGTERM
    they follow from it, and its exception is raised.

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
        check_interruption()  # a signal in a transaction may leave the database locked for what cleans up after it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        way_out = next((better for part, better in _REMEDIES.items() if part in reason), remedy)
        line = f"MLflow cannot {action} ({address()}): {reason}; {way_out}"
        raise TrackingError(re.sub(r"//[^/@\s]*@", "//", line)) from error  # the address may contain a password


def quoted(value: str) -> str:
    """A string literal of MLflow's filter language."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _database() -> Path:
    return paths.home() / "mlflow.db"
