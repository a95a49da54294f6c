"""Two projects on one ``mlflow server``, each with an experiment and a registered model of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.core.errors import TrackingError
from wordgaze.tracking import resolve as resolving
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.promotion import promote
from wordgaze.tracking.registry import register
from wordgaze.tracking.resolve import default_model, resolve
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store


def test_two_projects_share_a_server(
    fresh_project: Path,
    shared_server: str,
    write_captioner: Callable[..., Path],
    white_picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared_server)
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
        assert register() == 1
        decision = promote(force=True, reason="the first")
        assert (decision.version, decision.champion) == (1, None)  # the second knows nothing of the first
        assert default_model() == f"models:/{name}@champion"
        assert (resolve().folder / "weights.safetensors").read_bytes() == weights[name]

    (root / "params.yaml").write_text("tracking:\n  model_name: birds\n")
    assert (resolve().folder / "weights.safetensors").read_bytes() == weights["birds"]
    (root / "params.yaml").write_text("tracking:\n  model_name: nobody\n")
    assert default_model() == "models/stage2"
    with pytest.raises(TrackingError, match="nobody has no challenger"):
        promote()
