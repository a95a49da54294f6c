"""The boxes of objects that ``prepare`` hands on."""

from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.checksums import write_checksums
from wordgaze.core.errors import DataError
from wordgaze.data.object_boxes import BOXES, NounBox, read_boxes, relative_boxes, write_boxes
from wordgaze.data.records import Box, Record

DOG = Box("dog", (10, 0, 40, 20))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (40, 20)).save(tmp_path / name)
    return tmp_path


def records() -> list[Record]:
    return [
        Record("a.png", ("a dog",), "train", (DOG, Box("cat", (0, 5, 20, 10)))),
        Record("b.png", ("a dog",), "dev", (DOG,)),
        Record("c.png", ("a tree",), "train"),
    ]


def test_boxes_of_training_images_come_back_relative_to_their_size(images: Path) -> None:
    write_boxes(images, relative_boxes(records(), images))
    write_checksums(images, [BOXES])
    assert read_boxes(images) == {"a.png": [NounBox("dog", 0.25, 0, 1, 1), NounBox("cat", 0, 0.25, 0.5, 0.5)]}


def test_a_data_set_without_boxes_has_an_empty_table(images: Path) -> None:
    write_boxes(images, relative_boxes(records()[2:], images))
    write_checksums(images, [BOXES])
    assert read_boxes(images) == {}


def test_a_missing_a_damaged_and_a_broken_table_are_named(images: Path) -> None:
    with pytest.raises(DataError, match=r"boxes\.parquet is missing; run dvc repro prepare"):
        read_boxes(images)
    write_boxes(images, relative_boxes(records(), images))
    write_checksums(images, [BOXES])
    data = bytearray((images / BOXES).read_bytes())
    data[len(data) // 2] ^= 1
    (images / BOXES).write_bytes(data)
    with pytest.raises(DataError, match=r"boxes\.parquet is damaged"):
        read_boxes(images)
    (images / BOXES).write_bytes(b"PAR1")
    write_checksums(images, [BOXES])
    with pytest.raises(DataError, match=r"boxes\.parquet is broken"):
        read_boxes(images)


def test_an_image_that_cannot_be_read_is_named(images: Path) -> None:
    (images / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png cannot be read .*; run dvc repro -f -s download"):
        write_boxes(images, relative_boxes(records(), images))
    assert not (images / BOXES).exists()
