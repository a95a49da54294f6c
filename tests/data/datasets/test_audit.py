"""The audit keeps what can be used, counts every kind of fault, and refuses a data set with too many."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.core.files import stable_json
from wordgaze.data.datasets.audit import Finding, audit
from wordgaze.data.records import Record


def folder_with(base: Path, good: tuple[str, ...] = (), broken: tuple[str, ...] = ()) -> Path:
    for name in (*good, *broken):
        path = base / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(path, "PNG")
        if name in broken:
            path.write_bytes(path.read_bytes()[:50])
    return base


def test_every_kind_of_fault_is_dropped_and_counted(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("a.png", "sub/b.png", "mute.png", "y.png", "x.png", "z.png"), ("cut.png",))
    records = [
        Record("a.png", ("A dog .", "  ", "A cat ."), "train"),
        Record("cut.png", ("Broken .",)),
        Record("gone.png", ("Missing .",)),
        Record("mute.png", ("", "\t")),
        Record("a.png", ("Again .",), "test"),
        Record("sub/b.png", ("A bird .",)),
    ]
    kept, report = audit(records, folder, max_faulty=0.9)
    assert kept == [Record("a.png", ("A dog .", "A cat ."), "train"), Record("sub/b.png", ("A bird .",))]
    assert (report.seen, report.kept, report.share) == (9, 2, 7 / 9)
    assert report.duplicate_records == Finding(1, ("a.png",))
    assert report.missing_pictures == Finding(1, ("gone.png",))
    assert report.without_captions == Finding(1, ("mute.png",))
    assert report.unnamed_pictures == Finding(3, ("x.png", "y.png", "z.png"))
    assert report.blank_captions == Finding(3, ("a.png", "mute.png", "mute.png"))
    assert report.broken_pictures.count == 1
    assert report.broken_pictures.examples[0].startswith("cut.png: is broken")
    assert str(tmp_path) not in stable_json(report.to_json())


def test_the_report_is_plain_json_with_three_examples_at_most(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("a.png",))
    records = [Record("a.png", ("A dog .",)), *(Record(f"{n}.png", ("Gone .",)) for n in range(5))]
    value = json.loads(stable_json(audit(records, folder, max_faulty=1.0)[1].to_json()))
    assert value["missing_pictures"] == {"count": 5, "examples": ["0.png", "1.png", "2.png"]}
    assert value["seen"] == 6


def test_too_many_faults_are_refused_and_the_limit_itself_is_not(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("a.png", "b.png", "c.png"))
    records = [Record(f"{name}.png", ("A dog .",)) for name in "abcd"]
    assert len(audit(records, folder, max_faulty=0.25)[0]) == 3
    with pytest.raises(DataError) as caught:
        audit(records, folder, max_faulty=0.2)
    message = str(caught.value)
    assert all(part in message for part in ("25.00%", "dataset.max_faulty = 0.2", "1 missing picture (d.png)"))
    assert "\n" not in message


def test_nothing_left_is_always_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable image with a caption"):
        audit([], tmp_path, max_faulty=1.0)
    with pytest.raises(DataError, match=r"1 missing picture \(a\.png\)"):
        audit([Record("a.png", ("A dog .",))], tmp_path, max_faulty=1.0)


def test_a_record_cannot_name_a_picture_outside_the_folder(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "raw", ("a.png",))
    folder_with(tmp_path / "else", ("b.png",))
    records = [Record("a.png", ("A dog .",)), Record("../../else/images/b.png", ("A cat .",))]
    assert audit(records, folder, max_faulty=1.0)[1].missing_pictures.count == 1


@pytest.fixture(scope="module")
def three_good_one_broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with(tmp_path_factory.mktemp("raw"), ("0", "1", "2"), ("3",))


RECORDS = st.builds(
    Record, st.integers(0, 5).map(str), st.lists(st.sampled_from(["A dog .", " ", ""]), max_size=3).map(tuple)
)


@given(st.lists(RECORDS, max_size=8))
def test_each_thing_seen_is_kept_or_counted_once(three_good_one_broken: Path, records: list[Record]) -> None:
    try:
        kept, report = audit(records, three_good_one_broken, max_faulty=1.0)
    except DataError:
        return
    faults = (
        report.duplicate_records, report.missing_pictures, report.broken_pictures,
        report.without_captions, report.unnamed_pictures,
    )  # fmt: skip
    assert report.seen == len(kept) + sum(fault.count for fault in faults)
    assert len({record.image for record in kept}) == len(kept)
    assert all(caption.strip() for record in kept for caption in record.captions)


def test_case_folder_of_unread_formats_are_counted_apart_from_missing_and_broken_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_with(tmp_path, ("a.png",), ("cut.png",))
    for name in ("b.svg", "c.NEF"):
        (folder / "images" / name).write_text("<svg/>")
    names = ["a.png", "b.svg", "c.NEF", "cut.png", "gone.heic"]
    with caplog.at_level(logging.INFO):
        kept, report = audit([Record(name, ("A dog .",)) for name in names], folder, max_faulty=0.9)
    assert [record.image for record in kept] == ["a.png"]
    assert report.unread_formats.count == 2
    assert report.unread_formats.examples[0] == (
        "b.svg: is of a format that is not read (.svg); save it as JPEG or PNG"
    )
    assert (report.missing_pictures.examples, report.broken_pictures.count) == (("gone.heic",), 1)
    assert "left out of 5 images: 1 missing picture (gone.heic); 2 unread formats (b.svg: " in caplog.text


def test_the_advice_of_the_data_set_is_in_the_error(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("a.png",))
    records = [Record("a.png", ("A dog .",)), Record("b.png", ("A dog .",))]
    with pytest.raises(DataError, match=r"raise dataset\.max_faulty\. 'x/b\.png' is not there$"):
        audit(records, folder, max_faulty=0.1, advice="'x/b.png' is not there")
    with pytest.raises(DataError, match=r"1 missing picture \(b\.png\)\. look$"):
        audit(records[1:], tmp_path / "none", max_faulty=0.1, advice="look")
