"""Which files of a folder hold its captions, and what they say together."""

import csv
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.data.datasets.tiny import TWO, coco, images, packed, pictures, table, write
from wordgaze.core.errors import CaptionsError
from wordgaze.data.datasets.caption_files import read_captions_of
from wordgaze.data.datasets.fetch import NotThereError
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.datasets.source import Source, is_litter, is_picture
from wordgaze.data.readers.captions import ById
from wordgaze.data.records import Record

ONE = {"a.jpg": ["A dog ."]}
OTHER = {"b.jpg": ["A cat ."]}


def read(folder: Path, captions: str = "", **columns: str) -> ById[list[str]]:
    return read_captions_of(Source(str(folder), folder.parent / "cache"), captions, **columns)


def collect(source: Path) -> list[Record]:
    return Folder(str(source), "", source.parent / "cache").collect(source.parent / "raw").records


def splits(captions: ById[list[str]]) -> dict[str, list[str]]:
    return {key: list(captions.splits.get(key, ())) for key in captions}


def tar(path: Path, files: Mapping[str, str | bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_case_tables_in_parts_are_read_together_with_splits_by_folder(tmp_path: Path) -> None:
    parts = {
        split: {f"{split}_{n}.jpg": [f"{split} {n}", "more words"] for n in range(2)}
        for split in ("train", "dev", "test")
    }
    files = {}
    for split, captions in parts.items():
        text = io.StringIO(newline="")
        csv.writer(text).writerows(
            [["file_name", "caption_0", "caption_1"], *([name, *texts] for name, texts in captions.items())]
        )
        files |= {f"{split}/metadata.csv": text.getvalue(), **pictures([*captions], f"{split}/")}
    source = write(tmp_path / "mine", files)
    captions = read(source)
    assert captions == {name: texts for part in parts.values() for name, texts in part.items()}
    assert splits(captions) == {name: [split] for split, part in parts.items() for name in part}
    assert captions.folders["dev_0.jpg"] == PurePosixPath("dev")
    assert [line.rpartition(", ")[2] for line in captions.layout] == ["split dev", "split test", "split train"]
    assert {record.image: record.split for record in collect(source)} == {
        name: split for split, part in parts.items() for name in part
    }


def test_pictures_of_one_name_in_the_folders_of_splits_stay_apart(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {}
    for split in ("train", "val", "test"):
        row = {"file_name": "0.jpg", "text": f"the {split}"}
        files |= {f"{split}/metadata.jsonl": json.dumps(row), f"{split}/0.jpg": split}
    source = write(tmp_path / "mine", files)
    assert read(source) == {f"{split}/0.jpg": [f"the {split}"] for split in ("test", "train", "val")}
    assert {record.captions[0]: record.split for record in collect(source)} == {
        "the train": "train",
        "the val": "dev",
        "the test": "test",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "val.csv"),
        ("captions_train.csv", "captions_validation.csv"),
        ("annotations/train2017.csv", "annotations/val2017.csv"),
        ("train/captions.csv", "val/captions.csv"),
        ("My-TRAIN-set.csv", "My-VAL-set.csv"),
    ],
)
def test_one_file_a_split_is_one_data_set(tmp_path: Path, names: tuple[str, str]) -> None:
    source = write(tmp_path / "mine", {names[0]: table(ONE), names[1]: table(OTHER), **pictures([*TWO], "images/")})
    captions = read(source)
    assert captions == {**ONE, **OTHER}
    assert [record.split for record in collect(source)] == ["train", "dev"]
    assert len(captions.layout) == 2


def test_files_of_a_split_may_have_other_formats(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"train.csv": table(ONE), "test.json": coco(OTHER), **pictures([*TWO])})
    assert {record.image: record.split for record in collect(source)} == {"a.jpg": "train", "b.jpg": "test"}


def test_the_name_of_a_single_file_is_no_split(tmp_path: Path) -> None:
    assert splits(read(write(tmp_path / "mine", {"train.csv": table(TWO)}))) == {"a.jpg": [], "b.jpg": []}


def test_numbered_files_are_parts_only_if_their_images_differ(tmp_path: Path) -> None:
    assert read(write(tmp_path / "parts", {"c1.csv": table(ONE), "c2.csv": table(OTHER)})) == {**ONE, **OTHER}
    with pytest.raises(
        CaptionsError, match=r"has 2 possible caption files \(c1\.csv, c2\.csv\); set dataset\.captions"
    ):
        read(write(tmp_path / "versions", {"c1.csv": table(ONE), "c2.csv": table(ONE)}))


def test_files_that_do_not_belong_together_are_listed_and_may_be_named(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine",
        {"c.csv": table(ONE), "other.csv": table(OTHER), "x/train.csv": table(ONE), "x/val.csv": table(OTHER)},
    )
    with pytest.raises(CaptionsError, match=r"has 4 possible caption files \(c\.csv, other\.csv, x/train\.csv, …\)"):
        read(source)
    assert read(source, "c.csv") == read(source, str(source / "c.csv")) == ONE
    assert splits(read(source, "x")) == splits(read(source, "x/*.csv")) == {"a.jpg": ["train"], "b.jpg": ["val"]}


@pytest.mark.parametrize(
    "litter",
    ["__MACOSX/set/._captions.csv", "set/._captions.csv", "set/~$captions.csv", "set/.DS_Store", "Thumbs.db", "set/desktop.ini", "@eaDir/captions.csv"],
)  # fmt: skip
def test_case_zip_made_on_a_mac_is_read_without_its_litter(tmp_path: Path, litter: str) -> None:
    source = packed(
        tmp_path / "mine" / "set.zip",
        {"set/captions.csv": table(TWO), litter: b"\x00\x05\x16\x07", **pictures([*TWO], "set/")},
    ).parent
    assert [record.image for record in collect(source)] == ["a.jpg", "b.jpg"]
    assert is_litter(PurePosixPath(litter))


def test_other_texts_are_no_captions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = {
        "README.txt": "image,caption\nx.jpg,an example\n", "LICENSE.txt": "You may.", "notes.txt": "My dogs, my cats.",
        "config.json": '{"version": 1}', "sizes.csv": "image,width\na.jpg,640\n", "instances_train.json": "[",
        "list.txt": "a.jpg\nb.jpg\n", "broken.json": "{",
    }  # fmt: skip
    source = write(tmp_path / "mine", {"c.csv": table(TWO), **others, **pictures([*TWO])})
    assert read(source) == {key: TWO[key] for key in TWO}
    assert "sizes.csv is not read" in caplog.text


def test_a_broken_part_is_not_passed_over(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"train.json": coco(ONE), "val.json": "{"})
    with pytest.raises(CaptionsError, match=r"val\.json: broken JSON"):
        read(source)


def test_the_columns_are_named_by_parameters(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"c.csv": "image,en,de\na.jpg,a dog here,ein Hund da\n"})
    with pytest.raises(
        CaptionsError, match=r"c\.csv has several columns of text \(en, de\); give .* with dataset\.caption_column"
    ):
        read(source)
    assert read(source, caption_column="de") == {"a.jpg": ["ein Hund da"]}


@pytest.mark.parametrize("ending", [".txt", ".caption", ".jpg.txt"])
def test_a_text_beside_each_picture_has_a_caption_in_each_line(tmp_path: Path, ending: str) -> None:
    texts = {
        f"x/a{ending}": "A dog .\n\nA big dog .\n",
        f"x/b{ending}": "A cat .",
        f"x/c{ending}": "",
        "README.txt": "My dogs.",
    }
    source = write(tmp_path / "mine", {**texts, **pictures(["a.jpg", "b.jpg", "c.jpg"], "x/"), "x/d.jpg": b""})
    captions = read(source)
    assert captions == {"x/a.jpg": ["A dog .", "A big dog ."], "x/b.jpg": ["A cat ."]}
    assert [fault.reason for fault in captions.faults] == ["'x/c.jpg' has no caption"]
    assert [record.image for record in collect(source)] == ["a.jpg", "b.jpg"]


def test_texts_in_the_folders_of_splits_have_these_splits(tmp_path: Path) -> None:
    files = {
        f"{split}/{name}.{end}": f"A {name} ."
        for split, name in (("train", "dog"), ("val", "cat"))
        for end in ("txt", "jpg")
    }
    assert splits(read(write(tmp_path / "mine", files))) == {"train/dog.jpg": ["train"], "val/cat.jpg": ["val"]}


@pytest.mark.parametrize("form", ["txt", "json"])
def test_the_shards_of_webdataset_are_one_data_set(tmp_path: Path, form: str) -> None:
    (tmp_path / "mine").mkdir()
    for number, split in enumerate(("train", "train", "val")):
        text = f"a picture in {split} {number}"
        caption = text if form == "txt" else json.dumps({"caption": text, "width": 5, "key": "x"})
        tar(tmp_path / "mine" / f"{split}-{number:06}.tar", {"000.jpg": text, f"000.{form}": caption, "README.md": "x"})
    captions = read(tmp_path / "mine")
    assert captions == {
        f"{split}-{number:06}/000.jpg": [f"a picture in {split} {number}"]
        for number, split in enumerate(("train", "train", "val"))
    }
    records = collect(tmp_path / "mine")
    assert sorted(str(record.split) for record in records) == ["dev", "train", "train"]
    for record in records:
        assert (tmp_path / "raw" / "images" / record.image).read_text() == record.captions[0]


def test_a_pattern_chooses_the_shards(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(3):
        name = f"{number:03}"
        tar(tmp_path / "mine" / f"train-{number:06}.tar", {f"{name}.jpg": name, f"{name}.txt": f"train {number}"})
        rows = {"image": [{"bytes": name.encode(), "path": f"{name}.jpg"}], "caption": [f"row {number}"]}
        parquet.write_table(pa.table(rows), tmp_path / "mine" / f"part-{number}.parquet")
    assert [r.captions for r in collect(tmp_path / "mine" / "train-00000[12].tar")] == [("train 1",), ("train 2",)]
    assert images(tmp_path / "mine" / "raw") == {"001.jpg": b"001", "002.jpg": b"002"}
    assert [r.captions for r in collect(tmp_path / "mine" / "part-*.parquet")] == [(f"row {n}",) for n in range(3)]
    assert [r.captions for r in collect(tmp_path / "mine" / "*-2.parquet")] == [("row 2",)]
    with pytest.raises(NotThereError, match=r"mine/test-\*\.tar: no file of .*mine matches the pattern; check"):
        collect(tmp_path / "mine" / "test-*.tar")
    odd = tmp_path / "mine" / "odd[1].tar"  # a file of that name is not a pattern
    tar(odd, {"a.jpg": "a", "a.txt": "odd"})
    assert [r.captions for r in collect(odd)] == [("odd",)]


def test_a_bad_member_of_a_shard_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for number in range(2):
        members = {
            f"{number}{n}.{form}": text
            for n in range(3)
            for form, text in (("jpg", "p"), ("json", '{"caption": "a dog"}'))
        }
        tar(tmp_path / "mine" / f"train-{number}.tar", members | {f"{number}1.json": "{broken", f"{number}2.cls": "7"})
    captions = read(tmp_path / "mine")
    assert [*captions] == ["train-0/00.jpg", "train-0/02.jpg", "train-1/10.jpg", "train-1/12.jpg"]
    assert ["is broken JSON" in fault.reason for fault in captions.faults] == [True, True]


def test_parquet_files_with_pictures_are_table_and_archive(tmp_path: Path) -> None:
    (tmp_path / "mine" / "data").mkdir(parents=True)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        rows = {
            "image": [{"bytes": f"{name} {n}".encode(), "path": f"{n}.jpg"} for n in range(2)],
            "caption": [[f"{name} {n}"] for n in range(2)],
        }
        parquet.write_table(pa.table(rows), tmp_path / "mine" / "data" / f"{name}.parquet")
    records = collect(tmp_path / "mine")
    assert sorted(str(record.split) for record in records) == ["test", "test", *["train"] * 4]
    for record in records:
        assert (tmp_path / "raw" / "images" / record.image).read_text() == record.captions[0]
    assert len(Source(str(tmp_path / "mine"), tmp_path).find(is_picture)) == 6


def test_one_parquet_file_may_be_the_source(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}], "text": ["a dog", "a cat"]}
    parquet.write_table(pa.table(rows), tmp_path / "mine.parquet")
    assert [record.captions for record in collect(tmp_path / "mine.parquet")] == [("a dog",), ("a cat",)]


def test_parquet_may_hold_the_bytes_of_pictures_without_a_path(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    rows = {"id": [7, 8], "image": [png + b"1", png + b"2"], "caption": ["a dog", "a cat"]}
    parquet.write_table(pa.table(rows), tmp_path / "mine.parquet")
    records = collect(tmp_path / "mine.parquet")
    assert {record.image: record.captions for record in records} == {
        "00000000.jpg": ("a dog",), "00000001.jpg": ("a cat",)
    }  # fmt: skip
    assert images(tmp_path / "raw") == {"00000000.jpg": png + b"1", "00000001.jpg": png + b"2"}


def test_bytes_that_are_texts_are_not_taken_for_pictures(tmp_path: Path) -> None:
    rows = {"image": ["a.jpg"], "caption": ["a dog"], "note": [b"some bytes"]}
    parquet.write_table(pa.table(rows), write(tmp_path / "mine", pictures(["a.jpg"])) / "c.parquet")
    assert collect(tmp_path / "mine") == [Record("a.jpg", ("a dog",))]


@pytest.mark.parametrize("folder", ["{}", "images/{}", "data/{}2014/jpg"])
def test_names_that_begin_anew_in_each_split_mean_the_pictures_of_the_split(tmp_path: Path, folder: str) -> None:
    files: dict[str, str | bytes] = {}
    for split in ("train", "test"):
        files[f"{split}.csv"] = table({"1.jpg": [f"{split} one"], "2.jpg": [f"{split} two"]})
        files |= {f"{folder.format(split)}/{name}": f"{split} {name}".encode() for name in ("1.jpg", "2.jpg")}
    records = collect(write(tmp_path / "mine", files))
    copied = images(tmp_path / "raw")
    assert {(copied[record.image].decode(), record.split, record.captions) for record in records} == {
        ("train 1.jpg", "train", ("train one",)),
        ("train 2.jpg", "train", ("train two",)),
        ("test 1.jpg", "test", ("test one",)),
        ("test 2.jpg", "test", ("test two",)),
    }


def test_a_picture_in_the_tables_of_two_splits_is_left_out(tmp_path: Path) -> None:
    files = {"train.csv": table(TWO), "test.csv": table({**ONE, "c.jpg": ["A cup ."]})}
    source = write(tmp_path / "mine", {**files, **pictures(["a.jpg", "b.jpg", "c.jpg"], "images/")})
    assert {record.image: record.split for record in collect(source)} == {"b.jpg": "train", "c.jpg": "test"}


def test_split_and_kind_may_be_one_word_in_the_names_of_tables(tmp_path: Path) -> None:
    tables = {"train/traindata.csv": table(ONE), "validation/valdata.csv": table(OTHER)}
    source = write(tmp_path / "mine", {**tables, "train/a.jpg": b"a", "validation/b.jpg": b"b"})
    assert {record.image: record.split for record in collect(source)} == {"a.jpg": "train", "b.jpg": "dev"}


@pytest.mark.parametrize("names", [("texts/{}.txt", "images/{}.jpg"), ("text/{}/1.txt", "jpg/{}/1.jpg")])
def test_texts_may_be_in_a_folder_of_their_own(tmp_path: Path, names: tuple[str, str]) -> None:
    text, picture = names
    files = {text.format(key): f"{key} runs\n{key} sleeps\n" for key in ("dog", "cat")}
    source = write(tmp_path / "mine", {**files, **pictures([picture.format(key) for key in ("dog", "cat")])})
    assert read(source) == {picture.format(key): [f"{key} runs", f"{key} sleeps"] for key in ("dog", "cat")}


def test_texts_beside_the_pictures_need_no_folder(tmp_path: Path) -> None:
    texts = {"a.txt": "a dog", "b.txt": "a cat", "test/c.txt": "a cup"}
    source = write(tmp_path / "mine", {**texts, **pictures([*TWO, "test/c.jpg"])})
    assert {record.image: (record.split, *record.captions) for record in collect(source)} == {
        "a.jpg": (None, "a dog"), "b.jpg": (None, "a cat"), "c.jpg": ("test", "a cup")
    }  # fmt: skip


def test_boxes_beside_the_pictures_are_no_captions(tmp_path: Path) -> None:
    boxes = "0 0.5 0.5 0.1 0.1\n1 0.25 0.5 1e-2 0.3\n"
    source = write(tmp_path / "mine", {"a.txt": boxes, "b.txt": "42", **pictures([*TWO])})
    captions = read(source)
    assert captions == {"b.jpg": ["42"]}
    assert [fault.reason for fault in captions.faults] == [
        "holds boxes or other numbers, which are not captions; remove it"
    ]


def test_a_workbook_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"captions.xlsx": b"PK", **pictures([*TWO])})
    with pytest.raises(
        CaptionsError, match=r"captions\.xlsx is a workbook, which is not read; save its table as CSV \(UTF-8\)$"
    ):
        read(source)
