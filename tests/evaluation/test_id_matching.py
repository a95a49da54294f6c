"""Ids of captions and of references: which belong to one picture, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions import read_captions, read_references
from wordgaze.evaluation.id_matching import matched


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


ANNOTATIONS = {
    "images": [{"id": 285, "file_name": "000000000285.jpg"}, {"id": 17, "file_name": "000000000017.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 285, "caption": "a bear"},
        {"id": 2, "image_id": 17, "caption": "a cat"},
        {"id": 3, "image_id": 285, "caption": "a big bear"},
    ],
}


@pytest.mark.parametrize("ids", [(17, 285), ("17", "285"), ("000000000017.jpg", "000000000285.jpg")])
def test_results_match_coco_annotations_by_image_id_and_by_file_name(tmp_path: Path, ids: tuple[Any, ...]) -> None:
    results = [{"image_id": ids[0], "caption": "cat"}, {"image_id": ids[1], "caption": "bear"}]
    captions = read_captions(write(tmp_path, "results.json", results))
    references = read_references(write(tmp_path, "annotations.json", ANNOTATIONS))
    found = matched(captions, references)
    assert found == (["17", "285"], ["cat", "bear"], [["a cat"], ["a bear", "a big bear"]], 0)


def test_captions_in_a_coco_annotation_file_match_references_by_file_name(tmp_path: Path) -> None:
    generated = {**ANNOTATIONS, "annotations": ANNOTATIONS["annotations"][:2]}
    captions = read_captions(write(tmp_path, "captions.json", generated))
    references = {"000000000285.jpg": ["bear"], "000000000017.jpg": ["cat"]}
    assert matched(captions, references) == (
        ["000000000285.jpg", "000000000017.jpg"], ["a bear", "a cat"], [["bear"], ["cat"]], 0
    )  # fmt: skip


def test_a_picture_by_both_of_its_names_is_refused(tmp_path: Path) -> None:
    references = read_references(write(tmp_path, "annotations.json", ANNOTATIONS))
    with pytest.raises(CaptionsError, match=r"'17' and '000000000017.jpg' are the same image"):
        matched({"17": "cat", "000000000017.jpg": "cat", "285": "bear"}, references)


def test_ids_that_do_not_match_are_counted_and_the_first_three_named() -> None:
    captions = {"a": "x", **{f"only{i}": "x" for i in range(5)}}
    with pytest.raises(CaptionsError) as raised:
        matched(captions, {"a": ["x"], "b": ["x"]})
    assert str(raised.value) == (
        "the ids do not match: 5 of 6 captions have no references ('only0', 'only1', 'only2', …) "
        "and 1 of 2 references have no caption ('b'); give both files the same ids"
    )


def test_references_without_a_caption_are_refused() -> None:
    with pytest.raises(CaptionsError, match=r"1 of 2 references have no caption \('a'\)"):
        matched({"b": "two"}, {"a": ["one"], "b": ["2"]})


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (("000123", "7"), ("123", "000007")),
        (("123", "7"), ("COCO_val2014_000000000123.jpg", "COCO_val2014_000000000007.jpg")),
        (("000000000123.jpg", "000000000007.jpg"), ("123", "7")),
        (("dog", "cat"), ("dog.jpg", "cat.png")),
        (("photos/dog.jpg", "photos/cat.jpg"), ("dog.jpg", "cat.jpg")),
        (("C:\\me\\dog.JPG", "C:\\me\\cat.JPG"), ("pets/dog.jpg", "pets/cat.jpg")),
        (("a/0.jpg", "b/0.jpg"), ("/data/a/0.jpg", "/data/b/0.jpg")),
    ],
)
def test_ids_match_as_the_names_of_pictures_do(said: tuple[str, str], known: tuple[str, str]) -> None:
    found = matched(dict(zip(said, "xy", strict=True)), {key: [key] for key in reversed(known)})
    assert (found.ids, found.captions) == (list(known), ["x", "y"])


def test_equal_ids_come_before_similar_ones() -> None:
    found = matched({"1": "x", "01": "y"}, {"01": ["two"], "1": ["one"]})
    assert found.references == [["one"], ["two"]]


def test_an_id_that_fits_two_pictures_is_refused_with_both() -> None:
    with pytest.raises(CaptionsError, match=r"'0.jpg' matches a/0.jpg and b/0.jpg; write the path of one"):
        matched({"0.jpg": "x", "1.jpg": "y"}, {"a/0.jpg": ["x"], "b/0.jpg": ["y"]})


def test_two_captions_of_one_picture_are_refused() -> None:
    with pytest.raises(CaptionsError, match=r"'a/0.jpg' and 'b/0.jpg' are the same image in the references"):
        matched({"a/0.jpg": "x", "b/0.jpg": "y"}, {"0.jpg": ["x"], "1.jpg": ["y"]})


def test_paths_that_agree_only_at_their_end_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert matched({"b/0.jpg": "x"}, {"a/0.jpg": ["x"]}).ids == ["a/0.jpg"]
    assert "1 captions are matched by the end of their paths, such as 'b/0.jpg' with 'a/0.jpg'" in caplog.text


def test_with_partial_the_references_left_out_are_counted() -> None:
    assert matched({"b": "two"}, {"a": ["one"], "b": ["2"]}, partial=True) == (["b"], ["two"], [["2"]], 1)
    with pytest.raises(
        CaptionsError, match=r"1 of 1 captions have no references \('c'\) and the references have ids such as 'a'"
    ):
        matched({"c": "two"}, {"a": ["one"]}, partial=True)
