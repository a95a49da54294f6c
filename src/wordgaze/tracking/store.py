"""The MLflow store: its location, safe opening by several processes, and its failures as TrackingError."""

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from wordgaze.core import paths
from wordgaze.core.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "wordgaze"
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
    """An open MLflow store and the id of the experiment of all runs."""

    client: "MlflowClient"
    experiment: str


def open_store(create: bool = True) -> Store:
    """Opens the store that MLFLOW_TRACKING_URI names, else ``mlflow.db`` and ``mlartifacts`` under the project's root.

    Makes database and experiment where they are missing; with ``create=False`` a missing database is a TrackingError.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not (create or given or _database().exists()):
        raise TrackingError(
            f"there is no MLflow database {_database()}; run `dvc repro` here, or set MLFLOW_TRACKING_URI"
        )
    configure_mlflow()
    import mlflow

    with translate_errors("open the store"), lock():
        if not given:
            _probe(_database())
        mlflow.set_tracking_uri(given or address())
        if not given:  # set_tracking_uri exports it, and the next call would take it for the user's setting
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient()
        return Store(client, _experiment(client))


def configure_mlflow() -> None:
    """Turns off MLflow's log, progress bars, links and telemetry, unless environment variables ask for them.

    MLflow reads the level when it is imported, so call this first. MLflow logs an error with a page of traceback
    before it raises it; :func:`translate_errors` reports it in one line.
    """
    for name, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


def address() -> str:
    """The address of the store, as MLflow writes it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database()}"


def lacks_alias(name: str, alias: str) -> bool:
    """Whether the database is a local one that certainly has no model of this name with this alias.

    It is asked without MLflow, whose import takes longer than captioning an image. Whatever is unexpected counts as
    uncertain and is left to MLflow.
    """
    path = address().removeprefix("sqlite:///")
    if path == address():
        return False
    query = "SELECT 1 FROM registered_model_aliases WHERE name = ? AND alias = ?"
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (name, alias)).fetchone() is None
    except sqlite3.Error:
        return False


def lock() -> FileLock:
    """A lock to hold while something is looked up or else created, so that it is created once. It cannot be nested."""
    path = paths.scratch("mlflow.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=_LOCK_TIMEOUT)


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


def _probe(database: Path) -> None:
    # MLflow tries for 100 seconds to open a database that cannot be opened; SQLite reports the cause at once.
    with closing(sqlite3.connect(database, timeout=_LOCK_TIMEOUT)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def _experiment(client: "MlflowClient") -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        served = address().startswith(("http:", "https:", "databricks"))  # then the server keeps the artifacts
        location = None if served else (paths.home() / "mlartifacts").as_uri()
        return client.create_experiment(EXPERIMENT, artifact_location=location)
    number: str = experiment.experiment_id
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {EXPERIMENT!r} is deleted; run `mlflow experiments restore --experiment-id {number}`"
        )
    return number
