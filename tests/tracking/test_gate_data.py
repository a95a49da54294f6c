"""The gate set is known by its content: pictures, references and tokenizer."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.tracking.test_split_fingerprint import ONE, write_split
from wordgaze.core.errors import DataError
from wordgaze.data.records import Box, Record, write_records
from wordgaze.tracking.gate_data import GateIdentity, read_gate_data


def identity_of_folder(folder: Path, rows: list[str], header: str = "image,caption") -> GateIdentity:
    (folder / "captions.csv").write_text("\n".join([header, *rows]) + "\n")
    return read_gate_data(str(folder)).identity


@pytest.fixture
def folder(project: Path) -> Path:
    folder = project / "pictures"
    folder.mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (8, 8), name).save(folder / f"{name}.png")
    return folder


def test_names_and_order_do_not_count_and_pictures_and_references_do(folder: Path) -> None:
    one = identity_of_folder(folder, ["red.png,a red square", "blue.png,a blue square"])
    assert (one.name, one.num_images) == ("pictures", 2)
    assert identity_of_folder(folder, ["blue.png,a blue square", "red.png,A red square."]) == one
    other = identity_of_folder(folder, ["red.png,a square", "blue.png,a blue square"])
    assert (other.pictures, other.references != one.references) == (one.pictures, True)
    shutil.move(folder / "red.png", folder / "a.png")
    assert identity_of_folder(folder, ["a.png,a red square", "blue.png,a blue square"]) == one
    Image.new("RGB", (8, 8), "green").save(folder / "a.png")
    changed = identity_of_folder(folder, ["a.png,a red square", "blue.png,a blue square"])
    assert changed.pictures != one.pictures
    assert changed.checksum != one.checksum
    assert read_gate_data(str(folder / "captions.csv")).identity.checksum == changed.checksum  # the table names it


def test_of_a_folder_with_splits_the_dev_images_are_taken(folder: Path) -> None:
    rows = ["red.png,a red square,train", "blue.png,a blue square,dev"]
    assert identity_of_folder(folder, rows, "image,caption,split").num_images == 1


def test_the_dev_split_is_that_of_the_prepared_data_with_its_boxes(project: Path) -> None:
    write_split(project, ONE, "dev")
    plain = read_gate_data("dev")
    assert (plain.identity.name, plain.identity.num_images, plain.objects) == ("dev", 2, ())
    boxes = tuple(Box("square", (0, 0, 4, 4)) for _ in range(2))
    write_records(project / "data/raw/captions.jsonl", [Record(name, ("x",), "dev", boxes) for name in ONE])
    boxed = read_gate_data("dev")
    assert boxed.objects == (frozenset({"square"}),) * 2
    assert boxed.identity == plain.identity
    with pytest.raises(DataError, match="has no images in test; give another gate set with --data"):
        read_gate_data("test")
    (project / "data/raw/images/a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png of the gate set cannot be read .*; run dvc repro, or dvc checkout"):
        read_gate_data("dev")


def test_a_folder_without_captioned_images_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="has no image with captions"):
        identity_of_folder(folder, ["nothing.png,a red square"])
