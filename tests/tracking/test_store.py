"""The store of a project, wherever the project lies."""

from pathlib import Path

import pytest

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.database import database_address
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import lacks_alias, local_database, open_store

NAMES = ["a b", "50%41", "why?", "no#1", "é", "it's", "\"q'", "鸟", "-p", "x:y", "a@b", "a&b=c", "a+b", "back\\slash"]


@pytest.mark.parametrize("name", NAMES)
def test_the_address_of_a_database_leads_back_to_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.engine import make_url

    database = Path("/projects") / name / "mlflow.db"
    assert make_url(database_address(database)).database == str(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database_address(database))
    assert local_database() == database


def test_a_usual_path_has_the_usual_address() -> None:
    assert database_address(Path("/home/me/my birds/mlflow.db")) == "sqlite:////home/me/my birds/mlflow.db"


def test_a_project_of_any_name_has_runs_and_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is new, for MLflow writes the working directory into it."""
    root = tmp_path / "".join(name for name in NAMES)
    root.mkdir()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(root)
    (root / "report.txt").write_text("all well")
    with stage_run("prepare", {}) as run:
        run.artifact(root / "report.txt", "reports")
    stored = root / "mlartifacts" / run.run_id / "artifacts/reports/report.txt"
    assert stored.read_text() == "all well"
    assert run.client.get_experiment("0").artifact_location == (root / "mlartifacts/0").as_uri()
    assert lacks_alias("captioner", "champion")
    assert sorted(path.name for path in root.iterdir()) == [".scratch", "mlartifacts", "mlflow.db", "report.txt"]
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_a_database_without_tables_is_not_filled_by_a_reader(fresh_project: Path) -> None:
    (fresh_project / "mlflow.db").touch()
    assert lacks_alias("captioner", "champion")
    with pytest.raises(TrackingError, match=r"mlflow\.db is empty; run `dvc repro` here"):
        open_store(create=False)
    assert (fresh_project / "mlflow.db").stat().st_size == 0
