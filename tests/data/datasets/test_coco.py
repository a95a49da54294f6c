"""COCO: both years, loose and packed, val in halves, Karpathy's splits by either year's names, a single caption file."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.data.datasets.tiny import coco, images, karpathy, packed, pictures, write
from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.audit import audit
from wordgaze.data.datasets.base import Subset
from wordgaze.data.datasets.coco import PUBLIC, Coco
from wordgaze.data.records import Record

SHARED = Path(os.environ.get("WORDGAZE_SHARED", Path(__file__).parents[3] / "../shared/datasets"))


def names(part: str, year: str) -> list[str]:
    numbers = range(10) if part == "train" else range(10, 18)
    return [(f"COCO_{part}2014_" if year == "2014" else "") + f"{number:012d}.jpg" for number in numbers]


def annotations(year: str) -> dict[str, str | bytes]:
    return {
        f"annotations/captions_{part}{year}.json": coco({name: [f"Captioned {name} ."] for name in names(part, year)})
        for part in ("train", "val")
    } | {f"annotations/instances_val{year}.json": "{}"}


def loose(source: Path, year: str, pictures_of: str = "") -> Path:
    taken = pictures_of or year
    found = {k: v for part in ("train", "val") for k, v in pictures(names(part, taken), f"{part}{taken}/").items()}
    return write(source, {**annotations(year), **found})


def zips(source: Path, year: str) -> Path:
    for part in ("train", "val"):
        packed(source / f"{part}{year}.zip", pictures(names(part, year), f"{part}{year}/"))
    return packed(source / f"annotations_trainval{year}.zip", annotations(year)).parent


def collect(source: Path | str, folder: Path, **options: object) -> list[Record]:
    return Coco(str(source), folder / "cache", **options).collect(folder / "raw").records  # type: ignore[arg-type]


@pytest.mark.parametrize("year", ["2014", "2017"])
@pytest.mark.parametrize("lay", [loose, zips])
def test_train_is_train_and_val_is_dev_and_test(tmp_path: Path, year: str, lay: object) -> None:
    assert callable(lay)
    source = lay(tmp_path / "coco", year)
    records = collect(source, tmp_path)
    split = {record.image: record.split for record in records}
    assert {name for name, of_one in split.items() if of_one == "train"} == set(names("train", year))
    assert Counter(split[name] for name in names("val", year)) == {"dev": 4, "test": 4}
    assert all(record.captions == (f"Captioned {record.image} .",) for record in records)
    assert images(tmp_path / "raw") == {name: name.encode() for name in split}
    assert collect(source.as_uri(), tmp_path) == records


def test_only_what_is_chosen_is_unpacked(tmp_path: Path) -> None:
    source = zips(tmp_path / "coco", "2017")
    few = collect(source, tmp_path, subset=Subset(3, 2, 1))
    assert images(tmp_path / "raw").keys() == {record.image for record in few}
    assert Counter(record.split for record in few) == {"train": 3, "dev": 2, "test": 1}
    assert set(few) < set(collect(source, tmp_path, subset=Subset(6, 3, 1)))


def test_the_captions_of_one_year_do_with_the_pictures_of_the_other(tmp_path: Path) -> None:
    records = collect(loose(tmp_path / "a", "2014", pictures_of="2017"), tmp_path)
    assert images(tmp_path / "raw").keys() == {record.image for record in records} == {
        *names("train", "2014"), *names("val", "2014"),
    }  # fmt: skip
    assert images(tmp_path / "raw")[names("val", "2014")[0]] == names("val", "2017")[0].encode()


@pytest.mark.parametrize("year", ["2014", "2017"])
def test_karpathy_s_splits_find_their_pictures_in_both_years(tmp_path: Path, year: str) -> None:
    listed = [*names("train", "2014")[:2], *names("val", "2014")[:4]]
    text = karpathy({n: [n, "x"] for n in listed}, dict(zip(listed, ["train", "train", "restval", "val", "test", "test"], strict=True)))  # fmt: skip
    path = write(tmp_path, {"dataset_coco.json": text}) / "dataset_coco.json"
    records = collect(zips(tmp_path / "coco", year), tmp_path, karpathy=str(path))
    assert [record.split for record in records] == ["train", "train", "train", "dev", "test", "test"]
    assert [image[-16:] for image in images(tmp_path / "raw")] == [name[-16:] for name in sorted(listed)]
    assert images(tmp_path / "raw").keys() == set(listed)


def test_a_single_caption_file_leaves_the_splits_open(tmp_path: Path) -> None:
    text = coco({"a.jpg": ["A dog ."], "b.jpg": ["A cat .", "A black cat ."]})
    source = packed(
        tmp_path / "coco" / "sample.zip", {"annotations/captions.json": text, **pictures(["a.jpg", "b.jpg"], "images/")}
    )
    expected = [Record("a.jpg", ("A dog .",)), Record("b.jpg", ("A cat .", "A black cat ."))]
    assert collect(source, tmp_path) == collect(source.parent, tmp_path) == expected
    assert images(tmp_path / "raw").keys() == {"a.jpg", "b.jpg"}


def test_a_source_that_lacks_something_is_reported_what(tmp_path: Path) -> None:
    source = loose(tmp_path / "coco", "2017")
    for path in (source / "val2017").iterdir():
        path.unlink()
    with pytest.raises(DownloadError, match=r"has no image of dev; put train2017\.zip and val2017\.zip"):
        collect(source, tmp_path)
    with pytest.raises(DownloadError, match=r"holds no captions\*\.json; put captions_train2017\.json"):
        collect(write(tmp_path / "none", {"a.jpg": b""}), tmp_path)
    two = {"captions_a.json": coco({"a.jpg": ["x"]}), "captions_b.json": coco({"a.jpg": ["x"]}), "a.jpg": b""}
    with pytest.raises(DownloadError, match=r"holds 2 files captions\*\.json"):
        collect(write(tmp_path / "two", two), tmp_path)


def test_a_picture_in_both_parts_and_one_without_a_name_are_refused(tmp_path: Path) -> None:
    source = loose(tmp_path / "coco", "2017")
    shared = {name: ["x"] for name in [*names("val", "2017"), names("train", "2017")[0]]}
    write(source, {"annotations/captions_val2017.json": coco(shared)})
    with pytest.raises(
        CaptionsError, match=r"captions_val2017\.json: '000000000000\.jpg' is in captions_train2017\.json too"
    ):
        collect(source, tmp_path)
    write(
        source,
        {"annotations/captions_val2017.json": '{"images": [], "annotations": [{"image_id": 7, "caption": "x"}]}'},
    )
    with pytest.raises(CaptionsError, match=r"annotations\[0\]: no image has the id 7"):
        collect(source, tmp_path)


def test_without_a_source_the_public_zips_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, asked = zips(tmp_path / "coco", "2017"), []

    def from_here(address: str, *_: object, **__: object) -> Path:
        asked.append(address)
        return here / address.rpartition("/")[2]

    monkeypatch.setattr("wordgaze.data.datasets.source.fetch", from_here)
    assert len(collect("", tmp_path)) == 18
    assert asked == [
        f"{PUBLIC}/{name}.zip" for name in ("annotations/annotations_trainval2017", "zips/train2017", "zips/val2017")
    ]


@pytest.mark.skipif(
    not (SHARED / "coco_sample" / "coco_sample.zip").is_file(),
    reason="the sample of COCO is not here: set WORDGAZE_SHARED to the folder that holds coco_sample/",
)
def test_the_sample_of_coco(tmp_path: Path) -> None:
    records = collect((SHARED / "coco_sample").resolve(), tmp_path)
    kept, report = audit(records, tmp_path / "raw", max_faulty=0.0)
    assert (len(kept), report.share) == (111, 0.0)
    assert {len(record.captions) for record in kept} == {5}
    assert kept[0].image == "000000000285.jpg"
