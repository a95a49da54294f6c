"""Which captioners the page offers, each once, the one that answers first."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.app import offers as module
from wordgaze.app.offers import Offer, find_offers
from wordgaze.core.errors import ModelError
from wordgaze.tracking import resolve


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_captioner: Callable[..., Path]) -> Path:
    """A project with two trained captioners, and a packaged captioner outside of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for time, name in enumerate(("stage1", "stage2")):
        os.utime(write_captioner(tmp_path / "models" / name) / "captioner.json", (time, time))
    packaged = write_captioner(tmp_path / "packaged" / "photos")
    for room in (module, resolve):
        monkeypatch.setattr(room, "packaged_captioner", lambda name: packaged if name == "photos" else None)
    return tmp_path


@pytest.mark.usefixtures("project")
def test_the_packaged_captioner_and_the_projects_own_are_offered_beside_the_one_that_is_named(
    write_captioner: Callable[..., Path],
) -> None:
    mine = str(write_captioner(Path("elsewhere", "mine")))
    assert [offer.name for offer in find_offers([mine])] == ["mine", "photos", "stage2", "stage1"]


def test_a_captioner_with_two_addresses_is_offered_once(project: Path) -> None:
    named = str(project / "models" / "stage1")
    offers = find_offers([named, "models/stage1"])
    assert offers[0] == Offer("stage1", named)
    assert [offer.name for offer in offers] == ["stage1", "photos", "stage2"]


@pytest.mark.usefixtures("project")
def test_captioners_of_one_name_are_told_apart_by_their_addresses(write_captioner: Callable[..., Path]) -> None:
    other = str(write_captioner(Path("elsewhere", "stage1")))
    assert [offer.name for offer in find_offers([other])] == [other, "photos", "stage2", "models/stage1"]


@pytest.mark.usefixtures("project")
def test_one_s_own_captioner_called_photos_is_told_apart_from_the_packaged_one(
    write_captioner: Callable[..., Path],
) -> None:
    write_captioner(Path("models", "photos"))
    names = [offer.name for offer in find_offers(["photos"])]
    assert names[0] == "photos"
    assert sorted(names) == ["models/photos", "photos", "stage1", "stage2"]


def test_a_registry_that_cannot_be_read_does_not_keep_a_named_captioner_from_the_page(project: Path) -> None:
    (project / "mlflow.db").write_text("no database")
    assert find_offers(["models/stage1"])[0].name == "stage1"


@pytest.mark.usefixtures("project")
def test_a_mistyped_folder_is_reported_before_the_page_opens() -> None:
    with pytest.raises(ModelError, match="models/stage3 holds no captioner"):
        find_offers(["models/stage1", "models/stage3"])
