"""The example pictures, and what is said of those that others have taken."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.app.caption_queue import CaptionQueue
from wordgaze.app.corrections import Corrections
from wordgaze.app.examples import NUM_PICTURES, ExampleSets
from wordgaze.core.files import sha256
from wordgaze.data.datasets.scenes import Scenes

NOTICE = Path(__file__).parents[2] / "NOTICE"
MAX_BYTES = 250_000  # of all packaged photographs


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExampleSets:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    return ExampleSets(tmp_path / "examples")


@pytest.mark.parametrize("dataset", ["", "flickr8k", "coco"])
def test_a_captioner_of_photographs_has_photographs_as_examples(sets: ExampleSets, dataset: str) -> None:
    examples = sets.of(dataset)
    assert len(examples) == NUM_PICTURES
    assert sum(example.path.stat().st_size for example in examples) < MAX_BYTES
    for example in examples:
        with Image.open(example.path) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert 240 < max(picture.size) <= 480


def test_the_source_and_the_licence_of_every_photograph_are_in_the_notice(sets: ExampleSets) -> None:
    notice = NOTICE.read_text(encoding="utf-8")
    assert "https://creativecommons.org/licenses/by/2.0/" in notice
    for example in sets.of(""):
        assert example.path.name in notice
        assert example.source in notice
        assert f'"{example.reference}"' in notice
    assert "https://creativecommons.org/licenses/by/4.0/" in notice


def test_a_captioner_of_scenes_has_scenes_as_examples(sets: ExampleSets, tmp_path: Path) -> None:
    examples = sets.of("scenes")
    assert [(example.title, example.source) for example in examples] == [(f"Scene {i}", "") for i in range(1, 7)]
    assert all(example.path.name.startswith("scene-") for example in examples)
    assert sets.of("scenes") is examples  # drawn once
    [drawn] = Scenes(12, 448, seed=7).collect(tmp_path / "again").records[1:2]
    assert examples[0].reference == drawn.captions[0]


def test_a_copy_of_an_example_has_its_reference_and_another_picture_has_none(sets: ExampleSets, tmp_path: Path) -> None:
    [first, *_] = sets.of("")
    shutil.copyfile(first.path, tmp_path / "copy")
    assert sets.reference(tmp_path / "copy") == "A big burly grizzly bear is show with grass in the background"
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    assert sets.reference(tmp_path / "other.png") == ""


def test_a_captioner_of_one_s_own_pictures_has_some_of_them_as_examples(sets: ExampleSets, tmp_path: Path) -> None:
    own = tmp_path / "data" / "raw" / "images"
    own.mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (8, 8)).save(own / f"{i}.png")
    assert [example.path.name for example in sets.of("folder")] == ["0.png", "1.png", "2.png", "3.png"]


def test_without_own_pictures_photographs_are_shown(sets: ExampleSets) -> None:
    assert sets.of("folder") == sets.of("")


def test_the_images_of_the_queue_come_first_until_they_are_corrected(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections.sqlite")
    queue = CaptionQueue(tmp_path / "queue.jsonl", corrections)
    rows = []
    for colour in ("red", "blue", "lost"):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (8, 8), "blue" if colour == "lost" else colour).save(path)
        rows.append({"path": str(path), "checksum": sha256(path)})
    queue.put(rows)
    (tmp_path / "lost.png").unlink()
    corrections.add((tmp_path / "red.png").read_bytes(), "red.png", "a dog", "a red square", "m", "1")
    (tmp_path / "examples").mkdir()
    shown = ExampleSets(tmp_path / "examples", queue).of("scenes")
    assert [each.title for each in shown[:2]] == ["Waiting for a caption: blue.png", "Scene 1"]
    assert sha256(shown[0].path) == rows[1]["checksum"]  # so that a correction of it leaves the queue
