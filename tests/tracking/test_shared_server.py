"""Two projects on one ``mlflow server``, each with an experiment and a registered model of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tracking.conftest import mlflow_server
from wordgaze.core.errors import TrackingError
from wordgaze.tracking import resolve as resolving
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.registry import promote, register
from wordgaze.tracking.resolve import default_model, resolve
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store


@pytest.fixture
def server(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    with mlflow_server(folder) as address:
        yield address


def test_two_projects_share_a_server(
    fresh_project: Path,
    server: str,
    write_captioner: Callable[..., Path],
    white_picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(resolving, "packaged_captioner", lambda name: None)
    weights = {}
    for number, name in enumerate(("birds", "street scenes"), start=1):
        root = fresh_project / name
        root.mkdir()
        (root / "params.yaml").write_text(f"tracking:\n  model_name: {name}\n")
        monkeypatch.chdir(root)
        monkeypatch.setenv("DVC_ROOT", str(root))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"team/{name}")
        folder = write_captioner(root / "models/stage2", seed=number)
        weights[name] = (folder / "weights.safetensors").read_bytes()
        with stage_run("evaluate", {}) as run:
            run.tag("dataset", "scenes")
            run.tag("evaluated_on.fingerprint", "the same")
            log_captioner(run, folder, white_picture, {"test/beam/cider": 1 / number})
        assert run.client.get_experiment(open_store().experiment).name == f"team/{name}"
        assert register() == promote() == 1  # the second scores lower, and is not compared with the first
        assert default_model() == f"models:/{name}@champion"
        assert (resolve().folder / "weights.safetensors").read_bytes() == weights[name]

    (root / "params.yaml").write_text("tracking:\n  model_name: birds\n")
    assert (resolve().folder / "weights.safetensors").read_bytes() == weights["birds"]
    (root / "params.yaml").write_text("tracking:\n  model_name: nobody\n")
    assert default_model() == "models/stage2"
    with pytest.raises(TrackingError, match="nobody has no challenger"):
        promote()
