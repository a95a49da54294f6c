"""One rule says which captioner is meant: a folder, an address of the registry, the champion, or the newest folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import wordgaze
from wordgaze.core.errors import ModelError, TrackingError
from wordgaze.tracking import resolve as module
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.registry import promote, register
from wordgaze.tracking.resolve import default_model, registered_version, resolve, resolve_model, resolve_models
from wordgaze.tracking.runs import stage_run


@pytest.fixture
def champion(captioner: Path, white_picture: Path) -> Path:
    """The folder of a captioner that is registered as the champion."""
    with stage_run("evaluate", {}) as run:
        run.tag("dataset", "scenes")
        log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5})
    register()
    promote()
    return captioner


def test_a_folder_is_itself(captioner: Path) -> None:
    assert resolve_model(captioner) == resolve_model(str(captioner)) == captioner
    assert (resolve(captioner).name, len(resolve(captioner).version)) == ("stage2", 12)
    with pytest.raises(ModelError, match="nowhere holds no captioner"):
        wordgaze.load("nowhere")
    with pytest.raises(ModelError, match="nowhere holds no captioner"):
        _ = resolve("nowhere").version


def test_the_newest_folder_is_the_default_where_there_is_no_champion(
    captioner: Path, write_captioner: Callable[..., Path]
) -> None:
    older = write_captioner(captioner.with_name("a"), seed=2)
    os.utime(older / "captioner.json", (1, 1))
    assert default_model() == "models/stage2"
    assert resolve_models([]) == [resolve()]
    os.utime(captioner / "captioner.json", (0, 0))
    assert resolve_model() == Path("models/a")
    assert wordgaze.load().vocabulary == wordgaze.load(older, device="cpu").vocabulary


def test_the_champion_comes_before_any_folder(champion: Path) -> None:
    assert default_model() == "models:/captioner@champion"
    resolved = resolve()
    assert (resolved.name, resolved.version) == ("captioner@champion", "version 1")
    assert resolved.folder != champion
    assert (resolved.folder / "weights.safetensors").read_bytes() == (champion / "weights.safetensors").read_bytes()
    assert resolve_model("models:/captioner/1") == resolved.folder
    assert registered_version("models:/captioner@challenger") is None
    with pytest.raises(TrackingError, match="cannot find models:/captioner/7"):
        wordgaze.load("models:/captioner/7")


def test_without_mlflow_there_is_no_registry(captioner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert default_model() == "models/stage2"
    with pytest.raises(ModelError, match=r'mlflow, which is not installed; pip install "wordgaze\[pipeline\]"'):
        wordgaze.load("models:/captioner@champion")


@pytest.mark.usefixtures("fresh_project")
def test_without_any_captioner_the_ways_out_are_named() -> None:
    with pytest.raises(ModelError, match=r"run `dvc repro` here, or name a captioner folder with --model"):
        wordgaze.load()


def test_a_registry_that_cannot_be_read_is_an_error(captioner: Path) -> None:
    Path("mlflow.db").write_text("no database")
    with pytest.raises(TrackingError, match="file is not a database"):
        wordgaze.load()
