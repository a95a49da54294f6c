"""The captioner that comes with wordgaze is complete, small, and holds no captions of its training images."""

from pathlib import Path

import pytest

from wordgaze.generation.config import GenerationConfig
from wordgaze.inference import packaged
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import read_captioner
from wordgaze.inference.packaged import packaged_captioner

FOLDER = Path(packaged.__file__).with_name("photos")


def test_no_other_name_is_that_of_a_packaged_captioner() -> None:
    assert packaged_captioner("models/stage2") is None
    assert packaged_captioner("") is None
    assert packaged_captioner("..") is None


def test_a_folder_is_found_once_it_holds_a_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "files", lambda name: tmp_path)
    (tmp_path / "photos").mkdir()
    assert packaged_captioner("photos") is None
    (tmp_path / "photos" / "captioner.json").write_text("{}")
    assert packaged_captioner("photos") == tmp_path / "photos"


def test_photos_is_complete_and_small() -> None:
    assert packaged_captioner("photos") == FOLDER
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "captioner.json",
        "weights.safetensors",
    ]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25_000_000
    card, state = read_captioner(FOLDER)
    assert card.dtype == "int8"
    assert card.generation.name_objects
    assert card.dataset not in ("", "scenes")
    assert all(card.encoder_weights)
    assert not [name for name in state if name.startswith(("encoder.", "neighbours."))]  # no captions of its training
    parts = Captioner.load(FOLDER, "cpu").parts
    assert parts.summary and parts.tagger and parts.confidence


def test_photos_names_an_animal_that_its_training_images_do_not_show() -> None:
    bear = FOLDER.parents[2] / "app/photographs/bear.jpg"
    [caption] = Captioner.load(FOLDER, "cpu").caption(bear)
    assert "bear" in caption.words
    assert caption.confidence is not None and 0 < caption.confidence < 1
    assert "the classifiers see" in caption.naming
    [plain] = Captioner.load(FOLDER, "cpu").caption(bear, GenerationConfig(num_beams=5))
    assert "bear" not in plain.words
