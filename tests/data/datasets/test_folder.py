"""One's own pictures: every caption format, pictures by path and by name, splits, links, and what is reported in one line."""

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tests.data.datasets.tiny import TWO, coco, images, packed, pictures, table, tokens, write
from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import Subset
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.datasets.naming import name_pictures
from wordgaze.data.picture_matching import PictureIndex
from wordgaze.data.readers.captions import ById
from wordgaze.data.records import Record

RECORDS = [Record("a.jpg", ("A dog .",)), Record("b.jpg", ("A cat .", "A black cat ."))]


def collect(source: Path | str, folder: Path, captions: str = "", subset: Subset = Subset()) -> list[Record]:  # noqa: B008
    return Folder(str(source), captions, folder / "cache", subset).collect(folder / "raw").records


def lines(*entries: dict[str, object]) -> str:
    return "\n".join(map(json.dumps, entries))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", table(TWO)),
        ("captions.txt", table(TWO)),
        ("metadata.jsonl", lines({"file_name": "a.jpg", "text": "A dog ."}, {"file_name": "b.jpg", "captions": TWO["b.jpg"]})),
        ("annotations/any.json", coco(TWO)),
        ("my.token", tokens(TWO)),
    ],
)  # fmt: skip
def test_every_format_is_found_and_read(tmp_path: Path, name: str, text: str) -> None:
    source = write(tmp_path / "mine", {name: text, "readme.txt": "My dogs.", **pictures([*TWO], "deep/er/")})
    assert collect(source, tmp_path) == RECORDS
    assert images(tmp_path / "raw") == {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}
    assert collect(source, tmp_path, name) == collect(source, tmp_path, str(source / name)) == RECORDS


def test_pictures_of_one_name_in_several_folders_do_not_collide(tmp_path: Path) -> None:
    paths = ["dog.jpg", "x/dog.jpg", "x/y/dog.jpg", "x__y/dog.jpg", "x/cat.jpg", "z/dog.jpg"]
    source = write(tmp_path / "mine", {path: path for path in paths})
    written = {path: path.replace("z/", ".\\z\\") for path in paths}  # as Windows writes it
    write(source, {"captions.csv": table({written[path]: [f"{path} ."] for path in paths})})
    records = collect(source, tmp_path)
    assert len({record.image for record in records}) == len(paths)
    assert {record.captions[0][:-2].encode(): images(tmp_path / "raw")[record.image] for record in records} == {
        path.encode(): path.encode() for path in paths
    }
    assert {"cat.jpg", "dog.jpg", "x__dog.jpg"} < {record.image for record in records}
    assert all(len(Path(record.image).parts) == 1 and record.image.endswith(".jpg") for record in records)


def test_paths_may_be_relative_to_the_captions(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"set/captions.csv": table({"images/a.jpg": ["A dog ."]}), "set/images/a.jpg": b"", "a.jpg": b""})  # fmt: skip
    assert collect(source, tmp_path) == [Record("a.jpg", ("A dog .",))]


def test_a_file_name_that_fits_several_pictures_is_left_out_with_its_row(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine", {"captions.csv": table(TWO), **pictures([*TWO], "x/"), **pictures(["a.jpg"], "y/")}
    )
    contents = Folder(str(source), "", tmp_path).read()
    assert [record.image for record in contents.records] == ["b.jpg"]
    assert [str(fault).removeprefix(str(source)) for fault in contents.faults] == [
        "/captions.csv:4: 'a.jpg' matches x/a.jpg and y/a.jpg; write the path of one"
    ]


def test_captions_of_a_picture_by_both_of_its_names_come_together(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"c.csv": table({"x/a.jpg": ["one"], "a.jpg": ["two"]}), "x/a.jpg": b""})
    assert collect(source, tmp_path) == [Record("a.jpg", ("one", "two"))]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_split_that_is_reported_is_kept_and_an_empty_one_left_open(tmp_path: Path, form: str) -> None:
    message = {"a.jpg": "val", "b.jpg": "TEST", "c.jpg": "", "d.jpg": "train", "e.jpg": "dev"}
    captions = {name: ["x", "y"] for name in message}
    entries = [
        {"image": name, "caption": text, "split": message[name]} for name, of_one in captions.items() for text in of_one
    ]
    text = table(captions, message) if form == "csv" else lines(*entries)
    records = collect(write(tmp_path / "mine", {f"c.{form}": text, **pictures([*message])}), tmp_path)
    assert [record.split for record in records] == ["dev", "test", None, "train", "dev"]


def test_splits_that_are_none_or_contradict_each_other_cost_their_picture_only(tmp_path: Path) -> None:
    rows = "image,caption,split\na.jpg,x,train\nb.jpg,x,tets\nc.jpg,x,\na.jpg,y,test\n"
    source = write(tmp_path / "mine", {"c.csv": rows, **pictures(["a.jpg", "b.jpg", "c.jpg"])})
    collected = Folder(str(source), "", tmp_path / "cache").collect(tmp_path / "raw")
    assert collected.records == [Record("c.jpg", ("x",))]
    assert images(tmp_path / "raw").keys() == {"c.jpg"}
    conflict, unknown = map(str, collected.faults)
    assert unknown.startswith(f"{source}/c.csv:3: 'tets' is not a split; use one of train, ")
    assert conflict.startswith(
        f"{source}/c.csv:5: 'a.jpg' is in the split test, and in train at {source}/c.csv:2; remove one of them"
    )


def test_captions_that_are_not_the_only_candidate_have_to_be_named(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"c.csv": table(TWO), "x/d.csv": table(TWO), **pictures([*TWO])})
    with pytest.raises(
        CaptionsError, match=r"has 2 possible caption files \(c\.csv, x/d\.csv\); set dataset\.captions to the right"
    ):
        collect(source, tmp_path)
    assert collect(source, tmp_path, "c.csv") == RECORDS
    with pytest.raises(CaptionsError, match=r"dataset\.captions is no\.csv, and .* has no such file"):
        collect(source, tmp_path, "no.csv")


def test_rows_without_a_caption_are_faults_with_file_and_row(tmp_path: Path) -> None:
    rows = "image,caption,split\na.jpg,x,train\nb.jpg,the sea, at night,train\nc.jpg,,train\n"
    source = write(tmp_path / "mine", {"c.csv": rows, **pictures(["a.jpg", "b.jpg", "c.jpg"])})
    collected = Folder(str(source), "", tmp_path / "cache").collect(tmp_path / "raw")
    assert [record.image for record in collected.records] == ["a.jpg"]
    assert [(Path(fault.place).name, fault.reason) for fault in collected.faults] == [
        ("c.csv:3", "has 4 columns instead of 3; put captions in quotes"),
        ("c.csv:4", "'c.jpg' has no caption"),
    ]


def test_a_picture_that_is_not_there_stays_for_the_audit_and_no_name_leads_out(tmp_path: Path) -> None:
    write(tmp_path, {"secret.jpg": b"secret"})
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "gone.jpg", "a.jpg"]
    source = write(tmp_path / "mine", {"c.csv": table({name: ["x"] for name in names}), "a.jpg": b""})
    assert len(collect(source, tmp_path)) == 4
    assert images(tmp_path / "raw").keys() == {"a.jpg"}
    write(source, {"c.csv": table({"../secret.jpg": ["x"]})})
    with pytest.raises(DownloadError, match="has none of the 1 captioned images"):
        collect(source, tmp_path)


def test_linked_pictures_are_copied_and_each_linked_folder_is_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write(tmp_path / "other", {"far.jpg": "far", "folder/b.jpg": b"b"})
    (other / "folder" / "back").symlink_to(other / "folder")
    source = write(tmp_path / "mine", {"c.csv": table({"a.jpg": ["x"], "b.jpg": ["y"]})})
    (source / "a.jpg").symlink_to(other / "far.jpg")
    (source / "linked").symlink_to(other / "folder")
    (source / "ring").symlink_to(source)
    collect(source, tmp_path)
    copied = tmp_path / "raw" / "images" / "a.jpg"
    assert (copied.is_symlink(), copied.read_bytes()) == (False, b"far")
    assert images(tmp_path / "raw") == {"a.jpg": b"far", "b.jpg": b"b"}
    assert "ring is a link to a folder that is read already, and is not followed" in caplog.text
    assert "back is a link" in caplog.text


def test_pictures_without_captions_and_hidden_ones_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = pictures(["c.jpg", ".hidden.jpg", ".git/d.jpg", "notes.md"])
    source = write(tmp_path / "mine", {"c.csv": table(TWO), **pictures([*TWO]), **more})
    with caplog.at_level(logging.INFO):
        collect(source, tmp_path)
    assert images(tmp_path / "raw").keys() == {"a.jpg", "b.jpg"}
    assert "1 of 3 images" in caplog.text


def test_a_name_too_long_for_a_file_becomes_a_checksum(tmp_path: Path) -> None:
    deep = "x" * 100 + "/" + "y" * 100 + "/"
    source = write(tmp_path / "mine", pictures(["a.png"], deep) | pictures(["a.png"]))
    write(source, {"c.csv": table({f"{deep}a.png": ["x"], "a.png": ["y"]})})
    assert sorted(len(record.image) for record in collect(source, tmp_path)) == [5, 20]


def test_only_so_many_pictures_are_copied(tmp_path: Path) -> None:
    captions = {f"{n}.jpg": ["x"] for n in range(40)}
    source = write(tmp_path / "mine", {"c.csv": table(captions), **pictures([*captions])})
    records = collect(source, tmp_path, subset=Subset(5, 1, 1))
    assert sorted(filter(None, (record.split for record in records))) == ["dev", "test", *["train"] * 5]
    assert images(tmp_path / "raw").keys() == {record.image for record in records}


def test_what_is_no_local_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="needs a local folder"):
        Folder("https://somewhere/pictures", "", tmp_path)
    with pytest.raises(DownloadError, match="no such folder"):
        collect(tmp_path / "none", tmp_path)


def test_a_zip_of_one_s_own_is_read_as_its_folder(tmp_path: Path) -> None:
    source = packed(tmp_path / "mine.zip", {"mine/c.csv": table(TWO), **pictures([*TWO], "mine/")})
    assert collect(source, tmp_path) == RECORDS


def named_table(names: Sequence[str]) -> str:
    return table({name: [f"a picture of {name} ."] for name in names})


def found(source: Path, tmp_path: Path) -> dict[str, str]:
    """The path of the picture that each caption, "a picture of KEY .", belongs to, by its key."""
    contents = Folder(str(source), "", tmp_path).read()
    return {
        caption[len("a picture of ") : -2]: str(contents.pictures[record.image].path)
        for record in contents.records
        for caption in record.captions
        if record.image in contents.pictures
    }


@pytest.mark.parametrize(
    "written", ["../images/{}.jpg", "{}", "root/images/{}.jpg", "D:\\set\\images\\{}.jpg", "{}.JPG", "/data/set/images/{}.jpg"]
)  # fmt: skip
def test_case_paths_as_people_write_them_in_a_folder(tmp_path: Path, written: str) -> None:
    names = [f"p{n:02}" for n in range(12)]
    source = write(tmp_path / "mine", pictures([f"{name}.jpg" for name in names], "images/"))
    write(source, {"annotations/c.csv": table({written.format(name): [f"a picture of {name} ."] for name in names})})
    assert found(source, tmp_path) == {name: f"images/{name}.jpg" for name in names}
    assert [record.image for record in collect(source, tmp_path)] == [f"{name}.jpg" for name in names]


def test_case_id_column_beside_file_name(tmp_path: Path) -> None:
    names = [f"p{n:02}.jpg" for n in range(12)]
    source = write(tmp_path / "mine", pictures(names))
    rows = [
        {"image_id": f"own_{n}", "image": name, "caption": f"a picture of {name} ."} for n, name in enumerate(names)
    ]
    write(source, {"train.json": json.dumps(rows)})
    assert found(source, tmp_path) == {name: name for name in names}
    (source / "train.json").unlink()
    write(
        source,
        {
            "c.csv": "image_id,file_name,caption\n"
            + "".join(f"{n},{name},a picture of {name} .\n" for n, name in enumerate(names))
        },
    )
    assert found(source, tmp_path) == {name: name for name in names}


def test_the_number_of_a_row_is_not_taken_for_the_number_of_a_picture(tmp_path: Path) -> None:
    """All ids would match by number, one picture more than by the file names, and each would be the wrong one."""
    names = [f"{n:03}.jpg" for n in range(1, 7)]
    source = write(tmp_path / "mine", pictures([*names, "000.jpg"]))
    rows = [f"{n},{name},a picture of {name} ." for n, name in enumerate([*names, "gone.jpg"])]
    write(source, {"c.csv": "\n".join(["image_id,file_name,caption", *rows])})
    assert found(source, tmp_path) == {name: name for name in names}


def test_case_karpathy_filepath_pictures_of_one_name_are_told_apart(tmp_path: Path) -> None:
    entries = [
        {
            "filepath": folder,
            "filename": f"{n}.jpg",
            "split": "train",
            "sentences": [{"raw": f"a picture of {folder}/{n}.jpg ."}],
        }
        for n in range(6)
        for folder in ("d0", "d1")
    ]
    paths = [f"{entry['filepath']}/{entry['filename']}" for entry in entries]
    source = write(tmp_path / "mine", {"dataset.json": json.dumps({"images": entries}), **pictures(paths)})
    assert found(source, tmp_path) == {path: path for path in paths}
    assert len(collect(source, tmp_path)) == 12


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".JPE", ".heic", ".jp2", ".svg"])
def test_case_folder_of_unread_formats(tmp_path: Path, suffix: str) -> None:
    """A picture is there whatever its format; the audit says which are not read."""
    names = [f"p{n:02}{suffix}" for n in range(3)]
    source = write(tmp_path / "mine", {"c.csv": named_table(names), **pictures(names)})
    assert found(source, tmp_path) == {name: name for name in names}


def test_a_picture_without_extension_is_found_by_its_whole_name(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine",
        {
            "c.csv": table({"x/6f1e": ["a picture of one ."], "LICENS": ["a picture of two ."]}),
            "x/6f1e": b"",
            "LICENSE": "",
        },
    )
    assert found(source, tmp_path) == {"one": "x/6f1e"}


def test_two_pictures_are_never_taken_for_one(tmp_path: Path) -> None:
    captions = {"train/0.jpg": ["a picture of here ."], "val/0.jpg": ["a picture of elsewhere ."], "1.jpg": ["a picture of one ."], "1.png": ["a picture of other ."], "x/2.jpg": ["a picture of a ."], "y/2.jpg": ["a picture of b ."]}  # fmt: skip
    source = write(tmp_path / "mine", {"c.csv": table(captions), **pictures(["train/0.jpg", "1.jpg", "2.jpg"])})
    assert found(source, tmp_path) == {"here": "train/0.jpg", "one": "1.jpg"}
    faults = [fault.reason for fault in Folder(str(source), "", tmp_path).read().faults]
    assert faults == [
        "'val/0.jpg' is not there, and train/0.jpg is what 'train/0.jpg' means; write the path in the folder",
        "'1.png' is not there, and 1.jpg is what '1.jpg' means; write the path in the folder",
        "'x/2.jpg' and 'y/2.jpg' both resemble 2.jpg; write the path in the folder",
        "'y/2.jpg' and 'x/2.jpg' both resemble 2.jpg; write the path in the folder",
    ]


def test_names_that_differ_in_case_or_normal_form_only_are_two_pictures(tmp_path: Path) -> None:
    names = ["a.jpg", "A.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg"]
    source = write(tmp_path / "mine", {"c.csv": named_table(names), **pictures(names)})
    assert found(source, tmp_path) == {name: name for name in names}
    copied = [record.image.casefold() for record in collect(source, tmp_path)]
    assert len(set(copied)) == 4


def test_what_is_beside_the_pictures_is_not_one(tmp_path: Path) -> None:
    more = {"a.jpg/b.jpg": b"", "__MACOSX/c.jpg": b"", "._d.jpg": b"", "images/Thumbs.db": b""}
    source = write(
        tmp_path / "mine",
        {
            "t.csv": table(
                {
                    "b.jpg": ["a picture of x ."],
                    "a.jpg": ["a picture of y ."],
                    "c.jpg": ["a picture of z ."],
                    "Thumbs.db": ["a picture of t ."],
                }
            ),
            **more,
        },
    )
    assert found(source, tmp_path) == {"x": "a.jpg/b.jpg"}


def test_names_that_are_not_utf8_long_or_blank_are_copied(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), " a.jpg", "b" * 251 + ".jpg", "\u3042" * 80 + ".jpg"]
    source = write(tmp_path / "mine", {"c.csv": table({"caf\u00e9.jpg": ["a picture of a1 ."], "a.jpg": ["a picture of a2 ."], "b" * 251: ["a picture of a3 ."], names[3]: ["a picture of a4 ."]})})  # fmt: skip
    for name in names:
        (source / name).write_bytes(b"")
    assert found(source, tmp_path) == dict(zip(["a1", "a2", "a3", "a4"], names, strict=True))
    records = collect(source, tmp_path)
    assert {record.image for record in records} == set(images(tmp_path / "raw"))
    assert all(record.image.encode() for record in records)


def test_where_few_are_found_a_name_as_written_is_shown_beside_one_that_is_there(tmp_path: Path) -> None:
    captions = {f"other/q{n:02}.jpg": ["a picture of x ."] for n in range(19)}
    source = write(
        tmp_path / "mine",
        {"t/c.csv": table({**captions, "p00.jpg": ["a picture of x ."]}), **pictures(["i/p00.jpg", "i/p01.jpg"])},
    )
    message = (
        r"mine has 1 of the 20 captioned images: .*c\.csv:2 names 'other/q00\.jpg', and an image there is 'i/p01\.jpg'; "
        r"set dataset\.image_column to the column that has such names, or dataset\.source to the folder"
    )
    assert re.search(message, Folder(str(source), "", tmp_path).collect(tmp_path / "raw").advice)
    write(source, {"t/c.csv": table(captions)})
    with pytest.raises(
        DownloadError, match=r"has none of the 19 captioned images: .* names 'other/q00\.jpg', and an image"
    ):
        collect(source, tmp_path)
    source = write(tmp_path / "bare", {"c.csv": table(captions)})
    with pytest.raises(DownloadError, match=r"and it holds no images \(.*\.avif.*\); set dataset\.source"):
        collect(source, tmp_path)


def test_reading_copies_nothing_and_says_what_was_understood(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine",
        {
            "c.csv": table({"x/A.JPG": ["a picture of x ."], "gone.jpg": ["a picture of y ."]}),
            **pictures(["x/a.jpg", "b.jpg"]),
        },
    )
    before = sorted(tmp_path.rglob("*"))
    contents = Folder(str(source), "", tmp_path / "cache").read()
    assert contents.records == [Record("a.jpg", ("a picture of x .",)), Record("gone.jpg", ("a picture of y .",))]
    assert (contents.names["a.jpg"], str(contents.pictures["a.jpg"].path)) == ("x/A.JPG", "x/a.jpg")
    assert [str(file.path) for file in contents.uncaptioned] == ["b.jpg"]
    assert sorted(tmp_path.rglob("*")) == before


def test_ten_thousand_names_are_found_in_seconds(tmp_path: Path) -> None:
    names = [f"{n:05}.jpg" for n in range(10_000)]
    captions: ById[list[str]] = ById()
    captions.update({f"D:\\x\\images\\{name}": ["a picture of x ."] for name in names})
    captions.aliases = {"name": {name.removesuffix(".jpg"): key for name, key in zip(names, captions, strict=True)}}
    began = time.perf_counter()
    index = PictureIndex(PurePosixPath("images", name) for name in names)
    named = name_pictures(captions, index, PictureIndex([]))
    assert list(map(str, named.paths.values())) == [f"images/{name}" for name in names]
    assert time.perf_counter() - began < 20


def test_numbers_of_captions_are_not_taken_for_those_of_pictures(tmp_path: Path) -> None:
    """Each row has its own image_id, and five rows have one file name."""
    rows = "".join(f"{n},p{n // 5}.jpg,a dog number {n}\n" for n in range(15))
    source = write(
        tmp_path / "mine", {"c.csv": f"image_id,file_name,caption\n{rows}", **pictures(["p0.jpg", "p1.jpg", "p2.jpg"])}
    )
    records = collect(source, tmp_path)
    assert [(record.image, len(record.captions)) for record in records] == [("p0.jpg", 5), ("p1.jpg", 5), ("p2.jpg", 5)]
