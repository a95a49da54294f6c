"""One rule says which captioner is meant: a folder, an address of the registry, the champion, or the newest folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import wordgaze
from wordgaze.core.errors import ModelError, TrackingError
from wordgaze.tracking import resolve as module
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.promotion import promote
from wordgaze.tracking.registry import register
from wordgaze.tracking.resolve import default_model, registered_version, resolve, resolve_model, resolve_models
from wordgaze.tracking.runs import stage_run


@pytest.fixture
def champion(captioner: Path, white_picture: Path) -> Path:
    """The folder of a captioner that is registered as the champion."""
    with stage_run("evaluate", {}) as run:
        run.tag("dataset", "scenes")
        log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5})
    register()
    promote(force=True, reason="the first")
    return captioner


def test_a_folder_is_itself(captioner: Path) -> None:
    assert resolve_model(captioner) == resolve_model(str(captioner)) == captioner
    assert (resolve(captioner).name, len(resolve(captioner).version)) == ("stage2", 12)
    with pytest.raises(ModelError, match="nowhere holds no captioner"):
        wordgaze.load("nowhere")
    with pytest.raises(ModelError, match="nowhere holds no captioner"):
        _ = resolve("nowhere").version


@pytest.mark.parametrize("mistyped", ["photoz", "photo", "Photos"])
def test_a_mistyped_photos_is_suggested(project: Path, mistyped: str) -> None:
    with pytest.raises(ModelError, match=f"{mistyped} is not a captioner folder; .* comes with wordgaze is photos"):
        wordgaze.load(mistyped)


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


def test_a_database_without_a_champion_is_read_without_mlflow(captioner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import of MLflow takes longer than captioning an image."""
    monkeypatch.setattr("wordgaze.tracking.store.configure_mlflow", lambda: pytest.fail("MLflow was asked"))
    assert default_model() == "models/stage2"


def test_without_mlflow_there_is_no_registry(captioner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert default_model() == "models/stage2"
    with pytest.raises(ModelError, match=r'mlflow, which is not installed; pip install "wordgaze\[pipeline\]"'):
        wordgaze.load("models:/captioner@champion")


@pytest.fixture
def photos(captioner: Path, write_captioner: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a captioner that comes with wordgaze, beside one that was trained on drawn scenes."""
    folder = write_captioner(captioner.parents[2] / "installed/photos", seed=4)
    monkeypatch.setattr(module, "packaged_captioner", lambda name: folder if name == "photos" else None)
    state_dataset(captioner, "scenes")
    return folder


def state_dataset(folder: Path, name: str) -> None:
    card = json.loads((folder / "captioner.json").read_text())
    (folder / "captioner.json").write_text(json.dumps({**card, "dataset": name}))
    (folder / "SHA256SUMS").unlink(missing_ok=True)


def test_a_captioner_of_drawn_scenes_is_not_for_photographs(captioner: Path, photos: Path) -> None:
    assert default_model() == "photos"
    assert resolve() == resolve("photos")
    assert (resolve().folder, resolve().name) == (photos, "photos")
    assert wordgaze.load(device="cpu").decoder.state_dict().keys()
    assert resolve("models/stage2").folder == Path("models/stage2")
    assert resolve("models/stage2").dataset == "scenes"


@pytest.mark.parametrize("dataset", ["flickr8k", "folder", ""])
def test_a_captioner_of_one_s_own_photographs_comes_first(
    captioner: Path, photos: Path, write_captioner: Callable[..., Path], dataset: str
) -> None:
    """A folder of an older format states no data set, and is used as before."""
    own = write_captioner(captioner.with_name("own"), seed=5)
    state_dataset(own, dataset)
    os.utime(own / "captioner.json", (1, 1))  # older than the one of drawn scenes
    assert default_model() == "models/own"


def test_a_broken_captioner_of_one_s_own_is_not_passed_over(captioner: Path, photos: Path) -> None:
    (captioner / "captioner.json").write_text("{")
    assert default_model() == "models/stage2"
    with pytest.raises(ModelError, match="models/stage2 holds a broken captioner"):
        wordgaze.load()


def test_photos_in_an_empty_folder_without_mlflow(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert resolve().folder == photos


def test_the_champion_comes_before_photos(champion: Path, photos: Path) -> None:
    assert default_model() == "models:/captioner@champion"


def test_drawn_scenes_are_captioned_by_their_captioner_where_photos_is_missing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "packaged_captioner", lambda name: None)
    assert default_model() == "models/stage2"
    with pytest.raises(ModelError, match="photos holds no captioner"):
        wordgaze.load("photos")


@pytest.mark.usefixtures("fresh_project")
def test_without_any_captioner_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "packaged_captioner", lambda name: None)
    with pytest.raises(ModelError, match=r"run `dvc repro` here, or name a captioner folder with --model"):
        wordgaze.load()


def test_a_registry_that_cannot_be_read_is_an_error(captioner: Path) -> None:
    Path("mlflow.db").write_text("no database")
    with pytest.raises(TrackingError, match="file is not a database"):
        wordgaze.load()
