"""Boxes from files in the layout of COCO's instances and of Flickr30k Entities, whole and broken."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from wordgaze.core.errors import DataError
from wordgaze.data.readers.boxes import coco_boxes, flickr30k_boxes
from wordgaze.data.records import Box

SHARED = Path(os.environ.get("WORDGAZE_SHARED", Path(__file__).parents[3] / "../shared/datasets"))
SAMPLE = SHARED / "coco_sample" / "coco_sample.zip"


def annotation(image: int, category: int, bbox: Any, crowd: int = 0) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "bbox": bbox, "area": 1.0, "iscrowd": crowd}


def coco(path: Path, *annotations: dict[str, Any]) -> Path:
    images = [
        {"id": 285, "file_name": "000000000285.jpg", "width": 586, "height": 640},
        {"id": 139, "file_name": "000000000139.jpg", "width": 640, "height": 426},
        {"id": 9, "file_name": "000000000009.jpg", "width": 640, "height": 480},
    ]
    categories = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 10, "name": "traffic light", "supercategory": "outdoor"},
    ]
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    return path


ANNOTATIONS = (
    annotation(139, 10, [412.8, 157.61, 53.05, 138.01]),
    annotation(139, 1, [0, 0, 10, 20]),
    annotation(285, 1, [5, 5, 90, 90], crowd=1),
    annotation(139, 1, [7, 7, 0, 20.5]),  # without area: the published files have some
)


def test_coco_boxes_by_picture(tmp_path: Path) -> None:
    assert coco_boxes(coco(tmp_path / "instances.json", *ANNOTATIONS)) == {
        "000000000285.jpg": (),
        "000000000139.jpg": (Box("traffic light", (412, 157, 466, 296)), Box("person", (0, 0, 10, 20))),
        "000000000009.jpg": (),
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (annotation(7, 1, [0, 0, 1, 1]), r"annotations\[1\] has the image_id 7, which the file does not define"),
        (annotation(9, 2, [0, 0, 1, 1]), r"annotations\[1\] has the category_id 2"),
        (annotation(9, 1, [0, 0, 1]), r"annotations\[1\] has the bbox \[0, 0, 1\] instead of"),
        (annotation(9, 1, [0, 0, "1", 1]), "has the bbox"),
        (annotation(9, 1, [0, 0, float("nan"), 1]), "has the bbox"),
        (annotation(9, 1, None), "has the bbox None"),
        ({"image_id": 9, "category_id": 1}, r"annotations\[1\] is not an object with image_id, category_id, bbox"),
        ({"image_id": [9], "category_id": 1, "bbox": [0, 0, 1, 1]}, r"image_id \[9\], which is not an integer"),
    ],
)
def test_a_broken_coco_annotation_is_reported_by_its_place(
    tmp_path: Path, broken: dict[str, Any], message: str
) -> None:
    path = coco(tmp_path / "instances.json", ANNOTATIONS[0], broken)
    with pytest.raises(DataError, match=message) as reported:
        coco_boxes(path)
    assert str(path) in str(reported.value) and "\n" not in str(reported.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("\ufeff[", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "no list of categories"),
        ('{"images": [], "annotations": []}', "no list of categories; give a COCO instances file, not one of captions"),
        ('{"categories": [], "images": [3]}', r"images\[0\] is not an object with id, file_name"),
    ],
)
def test_a_file_that_is_no_instances_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        coco_boxes(path)


def test_a_missing_coco_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.json is missing"):
        coco_boxes(tmp_path / "nothing.json")


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"the COCO sample is not at {SAMPLE} (set WORDGAZE_SHARED)")
def test_a_real_captions_file_is_not_mistaken_for_instances(tmp_path: Path) -> None:
    with zipfile.ZipFile(SAMPLE) as archive:
        path = Path(archive.extract("annotations/captions.json", tmp_path))
    with pytest.raises(DataError, match="not one of captions"):
        coco_boxes(path)


XML = """<annotation>
<filename>1000092795.jpg</filename>
<size><width>333</width><height>500</height><depth>3</depth></size>
<object><name>1</name><name>2</name>
<bndbox><xmin>1</xmin><ymin>75</ymin><xmax>206</xmax><ymax>326</ymax></bndbox></object>
<object><name>1</name><bndbox><xmin>240</xmin><ymin>10</ymin><xmax>333</xmax><ymax>500</ymax></bndbox></object>
<object><name>3</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>4</xmax><ymax>9</ymax></bndbox></object>
<object><name>5</name><scene>1</scene><nobndbox>0</nobndbox></object>
<object><name>6</name><scene>0</scene><nobndbox>1</nobndbox></object>
</annotation>"""
SENTENCES = """[/EN#1/people Two young guys] with [/EN#2/bodyparts/other shaggy hair] in [/EN#5/scene the yard] .
[/EN#1/people Two Men] and [/EN#0/notvisual them] look at [/EN#3/other their dishes] near [/EN#6/other a wall] .
[/EN#1/people Guys] beside [/EN#2/people each other] , [/EN#1/people two] of them .
"""


def entities(folder: Path, xml: bytes = XML.encode(), sentences: bytes = SENTENCES.encode()) -> Path:
    for name, content in (("Annotations/1000092795.xml", xml), ("Sentences/1000092795.txt", sentences)):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(content)
    return folder


def test_flickr30k_boxes_are_named_by_the_phrases_of_their_chain(tmp_path: Path) -> None:
    left, right = (0, 74, 206, 326), (239, 9, 333, 500)
    assert flickr30k_boxes(entities(tmp_path)) == {
        "1000092795.jpg": (
            Box("guy", left),
            Box("man", left),
            Box("hair", left),
            Box("guy", right),
            Box("man", right),
            Box("dish", (0, 0, 4, 9)),
        )
    }


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>' + XML.replace("<name>3<", "<name>&y;<")


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (XML[:200].encode(), "is not an annotation of Flickr30k Entities"),
        (XML.replace("206", "many").encode(), "many"),
        (XML.replace("<ymax>326</ymax>", "").encode(), "is not an annotation"),
        (XML.replace("206", "0").encode(), r"it has the box \(1, 75, 0, 326\)"),
        (BOMB.encode(), "declares the document type 'a'"),
        (f'<?xml version="1.0" encoding="utf-16"?>{BOMB}'.encode("utf-16"), "declares the document type 'a'"),
    ],
)
def test_a_broken_or_dangerous_annotation_is_refused(tmp_path: Path, xml: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as reported:
        flickr30k_boxes(entities(tmp_path, xml))
    assert "1000092795.xml" in str(reported.value) and "\n" not in str(reported.value)


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (b"A man .\n[/EN#1/people Two men walk .", r"1000092795\.txt:2 has a phrase that is not"),
        (b"[/EN#one/people Two men] walk .", r"1000092795\.txt:1 has a phrase"),
        (b"[/EN#1/people caf\xe9s] walk .", r"1000092795\.txt is not UTF-8"),
    ],
)
def test_broken_sentences_are_reported_by_file_and_line(tmp_path: Path, sentences: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        flickr30k_boxes(entities(tmp_path, sentences=sentences))


def test_missing_files_of_flickr30k_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no Annotations/\*\.xml"):
        flickr30k_boxes(tmp_path)
    (entities(tmp_path) / "Sentences/1000092795.txt").unlink()
    with pytest.raises(DataError, match=r"1000092795\.txt is missing, but its image has annotations"):
        flickr30k_boxes(tmp_path)


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "-1e7", "NaN"])
def test_a_coordinate_beyond_any_image_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "b.json").write_text(
        '{"images": [{"id": 1, "file_name": "1.jpg"}], "categories": [{"id": 3, "name": "cat"}], "annotations": '
        f'[{{"image_id": 1, "category_id": 3, "bbox": [1, {number}, 4, 4]}}]}}'
    )
    with pytest.raises(DataError, match=r"annotations\[0\] has the bbox .* instead of") as error:
        coco_boxes(tmp_path / "b.json")
    assert len(str(error.value)) < 500
