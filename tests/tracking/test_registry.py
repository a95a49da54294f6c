from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.core.errors import TrackingError
from wordgaze.tracking.fetch import fetch_model
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.promotion import promote
from wordgaze.tracking.registry import register
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store

Evaluate = Callable[..., None]


@pytest.fixture
def evaluate(captioner: Path, white_picture: Path, write_captioner: Callable[..., Path]) -> Evaluate:
    """What the evaluate stage logs, of a captioner whose weights come from ``seed``."""

    def evaluate(cider: float, seed: int = 1, decoding: str = "") -> None:
        write_captioner(captioner, seed)
        with stage_run("evaluate", {}) as run:
            run.tag("dataset", "scenes")
            if decoding:
                run.tag("evaluated_on.decoding", decoding)
            log_captioner(run, captioner, white_picture, {"test/beam/cider": cider})

    return evaluate


def test_the_same_weights_are_one_version(captioner: Path, evaluate: Evaluate) -> None:
    evaluate(0.5)
    evaluate(0.6)
    assert register() == register() == 1
    client = open_store().client
    version = client.get_model_version_by_alias("captioner", "challenger")
    assert int(version.version) == 1
    assert {"weights.sha256", "dataset", "git.commit"} <= set(version.tags)
    assert "Trained on scenes; weights" in (version.description or "")
    evaluate(0.7, seed=2)
    assert register(captioner) == 2


def test_the_same_weights_with_other_decoding_settings_are_another_version(evaluate: Evaluate) -> None:
    evaluate(0.5, decoding="greedy")
    assert register() == 1
    evaluate(0.6, decoding="neighbours")
    assert register() == 2
    evaluate(0.5, decoding="greedy")
    assert register() == 1


def test_a_registered_captioner_is_fetched_as_it_was(captioner: Path, evaluate: Evaluate) -> None:
    evaluate(0.5)
    first = {path.name: path.read_bytes() for path in captioner.iterdir()}
    register()
    promote(force=True, reason="the first")
    evaluate(0.6, seed=2)
    register()
    folder = fetch_model("models:/captioner@champion")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert fetch_model("models:/captioner/1") == folder
    newest = fetch_model("models:/captioner@challenger") / "weights.safetensors"
    assert newest.read_bytes() == (captioner / "weights.safetensors").read_bytes() != first["weights.safetensors"]
    with pytest.raises(TrackingError, match="cannot find models:/captioner@nobody"):
        fetch_model("models:/captioner@nobody")


def test_what_is_missing_is_reported_with_the_command_that_makes_it(captioner: Path, fresh_project: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"no evaluation of models/stage2 is in MLflow .*; run `dvc repro -f -s evaluate`"
    ):
        register()
    with pytest.raises(TrackingError, match="captioner has no challenger; run `wordgaze register` first"):
        promote()
    (captioner / "weights.safetensors").unlink()
    with pytest.raises(TrackingError, match=r"models/stage2/weights\.safetensors is missing.*run `dvc repro`"):
        register()
    (fresh_project / "mlflow.db").unlink()
    with pytest.raises(TrackingError, match=r"there is no MLflow database .*; run `dvc repro` here"):
        fetch_model("models:/captioner@champion")
