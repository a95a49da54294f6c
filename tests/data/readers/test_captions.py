"""Captions and references from files: what every layout has in common."""

import csv
import json
import string
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import CaptionsError
from wordgaze.data.readers.captions import ColumnNames, read_as_written, read_captions, read_references
from wordgaze.data.readers.captions.cleaning import SEQUENCE_MARKER
from wordgaze.data.readers.captions.content import CaptionFile
from wordgaze.data.readers.captions.entries import read_content
from wordgaze.data.readers.captions.names import is_missing

DOG, SEA = "a dog runs .", "the sea, at night"
SAID = {"a.jpg": DOG, "b.jpg": SEA}
KNOWN = {"a.jpg": [DOG, "a brown dog"], "b.jpg": [SEA]}


def write(folder: Path, name: str, content: str | bytes | Any) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", [{"image_id": "a.jpg", "caption": DOG}, {"image_id": "b.jpg", "caption": SEA}]),
        ("comma.csv", f'image,caption\na.jpg,{DOG}\nb.jpg,"{SEA}"\n'),
        ("windows.csv", f'\ufeffFile_Name,TEXT\r\na.jpg,{DOG}\r\n\r\nb.jpg,"{SEA}"\r\n'),
        ("old_mac.csv", f'image,caption\ra.jpg,{DOG}\rb.jpg,"{SEA}"\r'),
        ("bars.csv", f"image_name| comment_number| comment\na.jpg| 0| {DOG}\nb.jpg| 0| {SEA}\n"),
        ("tabs.tsv", f"\tid\tcaption\n0\ta.jpg\t{DOG}\n1\tb.jpg\t{SEA}\n"),
        ("ours.csv", f'image,greedy,beam,references\na.jpg,a cat,{DOG},x | y\nb.jpg,a cat,"{SEA}",z\n'),
        ("lines.jsonl", f'{{"image": "a.jpg", "caption": "{DOG}"}}\n\n{{"image": "b.jpg", "captions": ["{SEA}"]}}\n'),
        ("one_line.json", f'{{"image": "a.jpg", "caption": "{DOG}"}}\n{{"image": "b.jpg", "caption": "{SEA}"}}'),
        (
            "karpathy.json",
            '{"images": [{"filename": "b.jpg", "sentences": [{"raw": "the sea, at night"}]}, {"filename": "a.jpg", "sentences": [{"raw": "a dog runs ."}]}]}',
        ),
        ("tokens", f"a.jpg#0\t{DOG}\r\nb.jpg#0\t{SEA}\r\n"),
    ],
)
def test_captions_of_every_format_read_the_same(tmp_path: Path, name: str, content: Any) -> None:
    assert read_captions(write(tmp_path, name, content)) == SAID


def test_texts_are_read_as_written(tmp_path: Path) -> None:
    rows = [
        {"image_id": 1, "caption": " <start> a dog <end>"},
        {"image_id": 2, "caption": ""},
        {"image_id": 1, "caption": "a dog"},
        {"image_id": 3, "caption": None},
    ]
    found = read_as_written(write(tmp_path, "a.json", rows), several=False)
    assert found == {"1": ["<start> a dog <end>", "a dog"], "2": [""]}
    assert [fault.reason for fault in found.faults] == [
        "'3': caption is None, which is not a caption; correct or remove it"
    ]
    table = write(tmp_path, "b.csv", "image,caption_0,caption_1\na.jpg,a dog,\nb.jpg,a cat,the cat endseq\n")
    assert read_as_written(table, several=True) == {"a.jpg": ["a dog", ""], "b.jpg": ["a cat", "the cat endseq"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", [{"image_id": k, "caption": c} for k, of_one in KNOWN.items() for c in of_one]),
        ("rows.csv", f'id,caption\na.jpg,{DOG}\nb.jpg,"{SEA}"\na.jpg,a brown dog\n'),
        ("ours.csv", f'image,greedy,beam,references\na.jpg,x,y,{DOG} | a brown dog\nb.jpg,x,y,"{SEA}"\n'),
        ("lines.jsonl", "\n".join(json.dumps({"image": key, "captions": of_one}) for key, of_one in KNOWN.items())),
        ("Flickr8k.token.txt", f"a.jpg#0\t{DOG}\na.jpg#1\ta brown dog\nb.jpg#0\t{SEA}\n"),
        (
            "annotations.json",
            {"annotations": [{"id": 7, "image_id": k, "caption": c} for k, of_one in KNOWN.items() for c in of_one]},
        ),
    ],
)
def test_references_of_every_format_read_the_same(tmp_path: Path, name: str, content: Any) -> None:
    assert read_references(write(tmp_path, name, content)) == KNOWN


def test_a_column_or_a_key_is_chosen_by_its_name(tmp_path: Path) -> None:
    table = write(tmp_path, "a.csv", "image,greedy,Beam 5,references\na.jpg,one,two,three | four\n")
    lines = write(tmp_path, "a.jsonl", '{"image": "a.jpg", "caption": "one", "best": "two"}\n')
    assert read_captions(table) == {"a.jpg": "one"}
    assert read_captions(table, ColumnNames(caption="beam 5")) == {"a.jpg": "two"}
    assert read_captions(lines, ColumnNames(caption="best")) == {"a.jpg": "two"}
    with pytest.raises(
        CaptionsError, match=r"image, greedy, Beam 5, references, but not nucleus; give the right one with --column"
    ):
        read_captions(table, ColumnNames(caption="nucleus", caption_option="--column"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"  \n\n", "a.csv is empty"),
        ("a.csv", b"image,caption\n", "holds no captions"),
        ("a.json", "[]", "holds no captions"),
        ("a.txt", "a dog runs\n", r"unknown format, first line 'a dog runs'; known are a table .*Flickr8k tokens"),
        ("a.xml", "<captions/>", "unknown format"),
        ("a.json", {"version": 1}, "JSON of unknown structure"),
        ("a.json", [{"a.jpg": "a dog"}], r"a.json has no column of images among a.jpg"),
        ("a.json", '{\n "a": 1}', "JSON of unknown structure; write a list of objects"),
        ("a.json", '[{"image_id": 1, "caption": "x"},\n {"image_id" 2}]', "broken JSON at line 2, column 14"),
        ("a.jsonl", '{"image": "a", "caption": "x"}\n{"image": "b"', "a.jsonl:2: broken JSON at line 1, column 14"),
        ("a.json", "[" * 100_000, "JSON that cannot be read"),
        ("a.json", '["a dog"]', r"a.json\[0\] is not an object but 'a dog'"),
        ("a.json", '[{"image_id": 1, "caption": "x"}, {"image_id": 2}]', r"a.json\[1\]: '2' has no caption; add it"),
        ("a.json", '[{"image_id": 1, "caption": "x"}, {"caption": "y"}]', r"a.json\[1\] has no image_id"),
        ("a.json", '[{"image_id": 1, "caption": NaN}]', r"a.json\[0\]: '1': caption is nan, which is not a caption"),
        ("a.json", '[{"image_id": 1, "caption": {"x": 1}}]', "caption is {'x': 1}, which is not a text"),
        ("a.json", '[{"image_id": 1, "caption": null}]', "caption is None, which is not a caption"),
        ("a.json", '[{"image_id": 1.5, "caption": "x"}]', "image_id is 1.5; an id is a text or an integer"),
        ("a.json", '[{"image_id": " ", "caption": "x"}]', "image_id is ' '; an id"),
        ("a.json", r'[{"image_id": 1, "caption": "\ud83d dog"}]', r"a.json\[0\]: '1': caption is '\\ud83d dog', which contains a lone"),
        ("a.json", [{"image_id": 1, "caption": "x"}, {"image_id": "1", "caption": "y"}], r"\[1\]: the id '1' is repeated"),
        ("a.json", {"annotations": [{"image_id": 1}]}, "no column of captions among image_id"),
        ("a.json", {"images": [], "annotations": [{"image_id": 1}]}, r"annotations\[0\]: '1' has no caption"),
        ("a.json", {"images": 1}, "images is not a list"),
        ("a.json", {"images": [{"filename": "a.jpg"}]}, r"images\[0\]: 'a.jpg' has no sentences"),
        ("a.json", {"images": [{"sentences": [{"raw": "x"}]}]}, "no column of images among sentences"),
        ("a.json", {"images": [{"id": 1}], "annotations": []}, r"images\[0\] lacks id or file_name"),
        ("a.json", {"images": 1, "annotations": []}, "images is not a list"),
        ("a.json", {"annotations": 1}, "unknown structure"),
        ("a.jsonl", '{"image": "a", "captions": ["x", "y"]}', "a.jsonl:1: 2 captions of 'a'; keep one"),
        ("a.csv", "image,caption\na,one\n\na,two\n", "a.csv:4: the id 'a' is repeated"),
        ("a.csv", "image,caption\na,nan\n", r"a.csv:2: 'a': caption is 'nan', which is not a caption"),
        ("a.csv", "image,score\na,0.25\n", "no column of captions among image, score"),
        ("a.csv", "image,caption,n\na,the sea, at night,2\n", "a.csv:2 has 4 columns instead of 3; put captions in quotes"),
        ("a.csv", "image| n| comment\nb.jpg| 4   A dog runs\n", "a.csv:2 has 2 columns instead of 3"),
        ("a.csv", "image,caption\n ,a dog\n", "a.csv:2: image is ' '"),
        ("a.txt", "a.jpg#0\tone\nb.jpg two\n", "a.txt:2 is not 'name.jpg#0<TAB>caption': 'b.jpg two'"),
        ("a.parquet", b"PAR1 and nothing else", "a.parquet is not a Parquet file"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(CaptionsError, match=message) as raised:
        read_captions(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"image": "x", "captions": ["a dog"]}\n{"image": "a", "captions": []}'),
        ("a.jsonl", '{"image": "x", "captions": ["a dog"]}\n{"image": "a", "captions": [" "]}'),
        ("a.csv", "image,references\na,\n"),
    ],
)
def test_an_id_without_references_is_refused(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(CaptionsError, match=r"a\.\w+:2: 'a' has no reference"):
        read_references(write(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Image,Split,Caption\na.jpg,val,x\nb.jpg,,y\na.jpg,test,z\n"),
        ("a.jsonl", '{"image": "a.jpg", "caption": "x", "split": "val"}\n{"image": "b.jpg", "caption": "y", "split": null}\n{"image": "a.jpg", "caption": "z", "split": "test"}'),
        (
            "a.json",
            {
                "images": [
                    {"filename": "a.jpg", "split": "val", "sentences": [{"raw": "x", "tokens": ["x"]}]},
                    {"filename": "b.jpg", "sentences": [{"raw": "y"}]},
                    {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "z"}]},
                ]
            },
        ),
    ],
)  # fmt: skip
def test_splits_and_places_are_reported_with_the_references(tmp_path: Path, name: str, content: Any) -> None:
    path = write(tmp_path, name, content)
    references = read_references(path)
    assert references == {"a.jpg": ["x", "z"], "b.jpg": ["y"]}
    assert {key: list(reported) for key, reported in references.splits.items()} == {"a.jpg": ["val", "test"]}
    assert references.splits["a.jpg"]["val"] == references.places["a.jpg"] != references.splits["a.jpg"]["test"]
    assert references.places["b.jpg"].startswith(str(path))
    packed = read_references(Path("my.zip") / name, data=path.read_bytes())
    assert (packed, packed.places["a.jpg"].startswith(f"my.zip/{name}")) == (references, True)


def test_one_entry_is_json_lines_of_one_line(tmp_path: Path) -> None:
    for text in ('{"image": "a.jpg", "caption": "x"}', '{\n"image": "a.jpg",\n"caption": "x"}\n'):
        assert read_captions(write(tmp_path, "a.json", text)) == {"a.jpg": "x"}


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"none.csv cannot be read \(No such file"):
        read_captions(tmp_path / "none.csv")
    with pytest.raises(CaptionsError, match=r"cannot be read \(Is a directory"):
        read_references(tmp_path)


def test_empty_long_and_foreign_captions_are_captions(tmp_path: Path) -> None:
    captions = {
        "a": "",
        "b": "word " * 9_999 + "word",
        "c": "犬が雪の中を走る",
        "d": "كلب يجري في الثلج",
        "e": "🐕 bello\u2028",
    }
    lines = "\n".join(json.dumps({"image": k, "caption": c}, ensure_ascii=False) for k, c in captions.items())
    assert read_captions(write(tmp_path, "a.jsonl", lines)) == {k: c.strip() for k, c in captions.items()}


def test_long_references_in_one_cell_are_read(tmp_path: Path) -> None:
    long = "word " * 9_999 + "word"
    limit = csv.field_size_limit()
    path = write(tmp_path, "a.csv", f"image,references\na,{' | '.join([long] * 5)}\n")
    assert read_references(path) == {"a": [long] * 5}
    assert csv.field_size_limit() == limit


TEXT = (  # what means itself: neither a missing value, nor a marker such as <pad>, nor a list of captions
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
    .map(str.strip)
    .filter(lambda text: not (is_missing(text) or SEQUENCE_MARKER.search(text) or text.startswith(("['", '["'))))
)
NAMES = st.text(string.ascii_letters + string.digits + "_-#. äß", min_size=1, max_size=12).map(str.strip).filter(bool)
REFERENCES = st.dictionaries(NAMES, st.lists(TEXT, min_size=1, max_size=3).filter(any), min_size=1, max_size=5)


@given(
    captions=st.dictionaries(NAMES, TEXT, min_size=1),
    delimiter=st.sampled_from(",|\t"),
)
def test_captions_written_as_a_table_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, captions: dict[str, str], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("image", "caption"), *captions.items()])
    assert read_captions(path) == captions


@given(references=REFERENCES, ascii_only=st.booleans())
def test_references_written_as_json_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, references: dict[str, list[str]], ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("json")
    entries = [{"image_id": key, "caption": text} for key, of_one in references.items() for text in of_one]
    lines = [json.dumps({"image": k, "captions": c}, ensure_ascii=ascii_only) for k, c in references.items()]
    written = {
        "results.json": json.dumps(entries, ensure_ascii=ascii_only),
        "annotations.json": json.dumps({"images": [], "annotations": entries}, indent=1, ensure_ascii=ascii_only),
        "lines.jsonl": "\n".join(lines),
        "lines": "\n".join(lines),
    }
    for name, text in written.items():
        assert read_references(write(folder, name, text)) == references


def test_rows_of_parquet_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.data.readers.captions.parquet._ROWS", 2)
    path = tmp_path / "captions.parquet"
    pd.DataFrame(
        {"image": [f"{n // 2}.jpg" for n in range(7)], "caption": [f"a dog {n}" for n in range(7)]}
    ).to_parquet(path)
    content = read_content(CaptionFile(path))
    assert (len(content.rows), content.rows[6].number, [row.number for row in content.rows[2:4]]) == (7, 7, [3, 4])
    assert read_references(path) == {
        "0.jpg": ["a dog 0", "a dog 1"], "1.jpg": ["a dog 2", "a dog 3"], "2.jpg": ["a dog 4", "a dog 5"], "3.jpg": ["a dog 6"]
    }  # fmt: skip
