"""Checks and mends the MLflow database of a project, without MLflow as long as the file is sound."""

import sqlite3

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.database import find_damage, rebuild_database
from wordgaze.tracking.store import configure_mlflow, local_database, lock, translate_errors


def check_database() -> str:
    """The damage of the store's SQLite file in one line; "" for a sound one, a missing one, and for another store."""
    database = local_database()
    if database is None or not database.is_file():
        return ""
    try:
        damage = find_damage(database, thorough=True)
    except sqlite3.OperationalError as error:
        raise TrackingError(
            f"the MLflow database {database} cannot be opened: {error}; check its permissions"
        ) from error
    return f"the MLflow database {database} is damaged ({damage})" if damage else ""


def mend_database() -> str:
    """Rebuilds the damaged SQLite file of the store. Returns a line about what was done."""
    database = local_database()
    assert database is not None
    configure_mlflow()
    with translate_errors("rebuild the store"), lock():
        aside, runs = rebuild_database(database)
    return (
        f"{database} was damaged: it is now {aside}, and the new one has {runs} runs that could be read; "
        "wordgaze register logs the evaluation of models/stage2 again if it is not among them"
    )
