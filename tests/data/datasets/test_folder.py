"""One's own pictures: every caption format, pictures by path and by name, splits, links, and what is reported in one line."""

import json
import logging
from pathlib import Path

import pytest

from tests.data.datasets.tiny import TWO, coco, images, packed, pictures, table, tokens, write
from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import Subset
from wordgaze.data.datasets.folder import Folder
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
    write(source, {"captions.csv": table({written[path]: [path] for path in paths})})
    records = collect(source, tmp_path)
    assert len({record.image for record in records}) == len(paths)
    assert {record.captions[0].encode(): images(tmp_path / "raw")[record.image] for record in records} == {
        path.encode(): path.encode() for path in paths
    }
    assert {"cat.jpg", "dog.jpg", "x__dog.jpg"} < {record.image for record in records}
    assert all(len(Path(record.image).parts) == 1 and record.image.endswith(".jpg") for record in records)


def test_paths_may_be_relative_to_the_captions(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"set/captions.csv": table({"images/a.jpg": ["A dog ."]}), "set/images/a.jpg": b"", "a.jpg": b""})  # fmt: skip
    assert collect(source, tmp_path) == [Record("a.jpg", ("A dog .",))]


def test_a_file_name_that_fits_several_pictures_is_refused_with_its_row(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine", {"captions.csv": table(TWO), **pictures([*TWO], "x/"), **pictures(["a.jpg"], "y/")}
    )
    with pytest.raises(CaptionsError, match=r"captions\.csv:4: 'a\.jpg' matches x/a\.jpg and y/a\.jpg; write the path"):
        collect(source, tmp_path)


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


def test_splits_that_are_none_or_contradict_each_other_are_reported_with_their_rows(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine", {"c.csv": "image,caption,split\na.jpg,x,train\nb.jpg,x,tets\n", **pictures([*TWO])}
    )
    with pytest.raises(CaptionsError, match=r"c\.csv:3: 'tets' is not a split; use one of train, "):
        collect(source, tmp_path)
    write(source, {"c.csv": "image,caption,split\na.jpg,x,train\nb.jpg,x,\na.jpg,y,test\n"})
    with pytest.raises(CaptionsError, match=r"c\.csv:4: 'a\.jpg' is in the split test, and in train at .*c\.csv:2"):
        collect(source, tmp_path)


def test_captions_that_are_not_the_only_candidate_have_to_be_named(tmp_path: Path) -> None:
    source = write(tmp_path / "mine", {"c.csv": table(TWO), "x/d.json": "{}", **pictures([*TWO])})
    with pytest.raises(
        CaptionsError, match=r"has 2 possible caption files \(c\.csv, x/d\.json\); set dataset\.captions to the right"
    ):
        collect(source, tmp_path)
    assert collect(source, tmp_path, "c.csv") == RECORDS
    with pytest.raises(CaptionsError, match=r"dataset\.captions is no\.csv, and .* has no such file"):
        collect(source, tmp_path, "no.csv")
    with pytest.raises(CaptionsError, match=r"mine has no caption file; set dataset\.captions"):
        collect(write(tmp_path / "empty" / "mine", {"a.jpg": b"", "b.txt": "My dog."}), tmp_path)


def test_malformed_captions_are_reported_with_file_and_row(tmp_path: Path) -> None:
    source = write(
        tmp_path / "mine", {"c.csv": "image,caption\na.jpg,x\nb.jpg,the sea, at night\n", **pictures([*TWO])}
    )
    with pytest.raises(CaptionsError, match=r"mine/c\.csv:3 has 3 columns, the header 2"):
        collect(source, tmp_path)
    write(source, {"c.csv": "image,caption\na.jpg,x\nb.jpg,\n"})
    with pytest.raises(CaptionsError, match=r"mine/c\.csv:3: 'b\.jpg' has no reference"):
        collect(source, tmp_path)


def test_a_picture_that_is_not_there_stays_for_the_audit_and_no_name_leads_out(tmp_path: Path) -> None:
    write(tmp_path, {"secret.jpg": b"secret"})
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), "gone.jpg", "a.jpg"]
    source = write(tmp_path / "mine", {"c.csv": table({name: ["x"] for name in names}), "a.jpg": b""})
    assert len(collect(source, tmp_path)) == 4
    assert images(tmp_path / "raw").keys() == {"a.jpg"}
    write(source, {"c.csv": table({"../secret.jpg": ["x"]})})
    with pytest.raises(DownloadError, match="has none of the 1 captioned images"):
        collect(source, tmp_path)


def test_linked_pictures_are_copied_and_linked_folders_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write(tmp_path / "other", {"far.jpg": "far", "folder/b.jpg": b""})
    source = write(tmp_path / "mine", {"c.csv": table({"a.jpg": ["x"], "b.jpg": ["y"]})})
    (source / "a.jpg").symlink_to(other / "far.jpg")
    (source / "linked").symlink_to(other / "folder")
    (source / "ring").symlink_to(source)
    collect(source, tmp_path)
    copied = tmp_path / "raw" / "images" / "a.jpg"
    assert (copied.is_symlink(), copied.read_bytes()) == (False, b"far")
    assert images(tmp_path / "raw").keys() == {"a.jpg"}
    assert "linked is a link to a folder and is not followed" in caplog.text
    assert "ring is a link" in caplog.text


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
