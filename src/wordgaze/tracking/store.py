"""The MLflow store: where it lies, how several processes open it at once, and how its failures are told."""

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
PATIENCE = 60.0  # seconds that a process waits for the others

_MANNERS = {
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",  # about a minute; MLflow's 7 are four
}


@dataclass(frozen=True)
class Store:
    """An open MLflow store and the id of the experiment that all runs belong to."""

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
    silence_mlflow()
    import mlflow

    with translate_errors("open the store"), lock():
        if not given:
            _probe(_database())
        mlflow.set_tracking_uri(given or address())
        if not given:  # set_tracking_uri exports its argument, which would pass for a person's wish on the next call
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        client = mlflow.MlflowClient()
        return Store(client, _experiment(client))


def silence_mlflow() -> None:
    """Keeps MLflow's log, bars and links off the terminal and its usage reports at home, unless the environment asks.

    MLflow reads the level when it is imported: call this first. Its errors are logged with a page of traceback and
    then raised; :func:`translate_errors` tells them.
    """
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)


def address() -> str:
    """The address of the store, as MLflow writes it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database()}"


def lock() -> FileLock:
    """Held while something is found or else made, so that two processes do not both make it. Not to be nested."""
    path = paths.scratch("mlflow.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=PATIENCE)


@contextmanager
def translate_errors(deed: str, remedy: str = WRITABLE) -> Iterator[None]:
    """Raises what MLflow, the database or the disk raise in the block as one line of TrackingError.

    Warnings that MLflow raises about its own code are no news to a user and are dropped.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="mlflow")
            yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        line = f"MLflow cannot {deed} ({address()}): {reason}; {remedy}"
        raise TrackingError(re.sub(r"//[^/@\s]*@", "//", line)) from error  # an address may carry a password


def quoted(value: str) -> str:
    """A string literal of MLflow's filter language."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _database() -> Path:
    return paths.home() / "mlflow.db"


def _probe(database: Path) -> None:
    # MLflow tries for 100 seconds to open a database that cannot be opened; SQLite says at once what is wrong.
    with closing(sqlite3.connect(database, timeout=PATIENCE)) as connection:
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
