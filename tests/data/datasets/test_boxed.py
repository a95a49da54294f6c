"""Boxes of objects that a user gives to a data set."""

import json
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.core.errors import DataError
from wordgaze.data.datasets import open_dataset
from wordgaze.data.records import Box, Record

PREPARE = PrepareParams()


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images with captions, one of them in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(folder / "one.png")
    Image.new("RGB", (20, 10), "red").save(folder / "deep" / "two.png")
    (folder / "captions.csv").write_text("image,caption\none.png,a dog\ndeep/two.png,a cat\n")
    return folder


def write_instances(path: Path, *names: str) -> None:
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0} for n in range(len(names))
        ],
    }
    path.write_text(json.dumps(content))


def collect(tmp_path: Path, boxes: str) -> dict[str, Record]:
    params = DatasetParams(name="folder", source=str(tmp_path / "album"), boxes=boxes)
    records = open_dataset(params, PREPARE, tmp_path / "cache").collect(tmp_path / "raw").records
    return {Path(record.image).name: record for record in records}


def test_images_get_their_boxes_by_their_file_names(album: Path, tmp_path: Path) -> None:
    write_instances(tmp_path / "instances.json", "two.png", "three.png")
    records = collect(tmp_path, "instances.json")
    assert [record.objects for name, record in sorted(records.items())] == [(), (Box("dog", (1, 2, 4, 6)),)]


def test_boxes_of_other_images_are_refused(album: Path, tmp_path: Path) -> None:
    write_instances(tmp_path / "instances.json", "three.png")
    with pytest.raises(DataError, match=r"dataset\.boxes: .*instances\.json has no boxes of these images"):
        collect(tmp_path, "instances.json")


def test_a_missing_file_is_named_before_the_images_are_copied(album: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json is missing"):
        collect(tmp_path, "nowhere.json")
    assert not (tmp_path / "raw").exists()


def test_scenes_have_boxes_of_their_own() -> None:
    with pytest.raises(ValueError, match="scenes has boxes of its own"):
        DatasetParams(boxes="instances.json")
