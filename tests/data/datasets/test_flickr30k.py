"""Flickr30k: both layouts, loose and packed, rows that lost a bar, Karpathy's splits, and where to ask for it."""

import logging
from pathlib import Path

import pytest

from tests.data.datasets.tiny import TWO, bars, images, karpathy, packed, pictures, tokens, write
from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import Subset
from wordgaze.data.datasets.flickr30k import Flickr30k
from wordgaze.data.records import Record

RECORDS = [Record("a.jpg", ("A dog .",)), Record("b.jpg", ("A cat .", "A black cat ."))]
PICTURES = {"a.jpg": b"a.jpg", "b.jpg": b"b.jpg"}
DEEP = "flickr30k_images/flickr30k_images/flickr30k_images/"


def collect(source: Path | str, folder: Path, **options: object) -> list[Record]:
    return Flickr30k(str(source), folder / "cache", **options).collect(folder / "raw").records  # type: ignore[arg-type]


def loose_tokens(source: Path) -> Path | str:
    return write(source, {"results_20130124.token": tokens(TWO), **pictures([*TWO], "flickr30k-images/")})


def loose_table(source: Path) -> Path | str:
    return write(source, {"flickr30k_images/results.csv": bars(TWO), **pictures([*TWO], DEEP)})


def table_and_pictures_twice(source: Path) -> Path | str:
    again = {"flickr30k_images/flickr30k_images/results.csv": bars(TWO), **pictures([*TWO], "flickr30k_images/")}
    return write(Path(loose_table(source)), again)


def two_tars(source: Path) -> Path | str:
    packed(source / "flickr30k-images.tar.gz", pictures([*TWO], "flickr30k-images/"))
    return packed(source / "flickr30k.tar.gz", {"results_20130124.token": tokens(TWO), "readme.txt": ""}).parent


def one_zip(source: Path) -> Path | str:
    junk = {"__MACOSX/flickr30k_images/._a.jpg": "junk", "__MACOSX/._results.csv": "junk"}
    files = {**junk, "flickr30k_images/results.csv": bars(TWO), **pictures([*TWO], DEEP)}
    return packed(source / "downloaded.zip", files).parent


def the_zip_itself(source: Path) -> Path | str:
    return Path(one_zip(source)) / "downloaded.zip"


def an_address_of_tars(source: Path) -> Path | str:
    return Path(two_tars(source)).as_uri()


@pytest.mark.parametrize(
    "layout",
    [loose_tokens, loose_table, table_and_pictures_twice, two_tars, one_zip, the_zip_itself, an_address_of_tars],
)
def test_every_layout_gives_the_same(tmp_path: Path, layout: object) -> None:
    assert callable(layout)
    assert collect(layout(tmp_path / "source"), tmp_path) == RECORDS
    assert images(tmp_path / "raw") == PICTURES


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        ("2199200615.jpg| 4   A dog runs across the grass .", "A dog runs across the grass ."),
        ("2199200615.jpg 4| 2 dogs | one ball", "2 dogs | one ball"),
        ('2199200615.jpg  4 A "dog" runs\r', 'A "dog" runs'),
    ],
)
def test_rows_that_lost_a_bar_are_mended_and_counted(
    tmp_path: Path, row: str, caption: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = bars({"2199200615.jpg": ["4 dogs", '"x" | y']}) + row + "\n"
    source = write(tmp_path / "source", {"results.csv": text, "2199200615.jpg": b""})
    with caplog.at_level(logging.INFO):
        assert collect(source, tmp_path) == [Record("2199200615.jpg", ("4 dogs", '"x" | y', caption))]
    assert "1 rows of" in caplog.text


def test_a_row_beyond_mending_is_named(tmp_path: Path) -> None:
    for row in ("a.jpg| A dog", "a dog", "a.jpg| 42nd street"):
        source = write(tmp_path / "source", {"results.csv": bars(TWO) + "\n" + row, **pictures([*TWO])})
        with pytest.raises(CaptionsError, match=r"results\.csv:6 is not 'name\.jpg\| number\| caption'"):
            collect(source, tmp_path)
    write(source, {"results.csv": "image,caption\n"})
    with pytest.raises(CaptionsError, match="does not begin with image_name"):
        collect(source, tmp_path)


def test_without_a_source_it_is_reported_where_to_ask(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"request it at https://.* put flickr30k-images\.tar\.gz and") as caught:
        Flickr30k("", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_source_without_captions_or_pictures_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no such folder; check dataset\.source"):
        collect(tmp_path / "none", tmp_path)
    source = write(tmp_path / "source", {"a.jpg": b""})
    with pytest.raises(DownloadError, match=r"has neither results_20130124\.token nor results\.csv"):
        collect(source, tmp_path)
    (source / "a.jpg").unlink()
    write(source, {"results.csv": bars(TWO)})
    with pytest.raises(DownloadError, match=r"has no \*\.jpg"):
        collect(source, tmp_path)
    write(source, {"c.jpg": b""})
    with pytest.raises(DownloadError, match=r"none of the 2 captioned images, such as a\.jpg"):
        collect(source, tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_karpathy_gives_captions_and_splits(tmp_path: Path, zipped: bool) -> None:
    captions = {**TWO, "c.jpg": ["A bird ."], "d.jpg": ["A fish ."]}
    text = karpathy(captions, {"a.jpg": "test", "b.jpg": "val", "c.jpg": "restval", "d.jpg": "train"}, "flickr30k")
    source = write(tmp_path / "source", pictures([*captions], DEEP))
    files = {"dataset_flickr30k.json": text}
    path = packed(tmp_path / "k" / "all.zip", files) if zipped else write(tmp_path / "k", files) / next(iter(files))
    records = collect(source, tmp_path, karpathy=str(path))
    assert {record.image: record.split for record in records} == {
        "a.jpg": "test", "b.jpg": "dev", "c.jpg": "train", "d.jpg": "train",
    }  # fmt: skip
    assert records[1].captions == ("A cat .", "A black cat .")
    chosen = collect(source, tmp_path, karpathy=path.as_uri(), subset=Subset(train=1))
    assert len(chosen) == 3
    assert images(tmp_path / "raw").keys() == {record.image for record in chosen}


def test_a_karpathy_file_that_cannot_be_used_is_reported_in_one_line(tmp_path: Path) -> None:
    source = write(tmp_path / "source", pictures([*TWO]))
    good = karpathy(TWO, {"a.jpg": "test", "b.jpg": "val"})
    for text, reason in (
        (good.replace("val", "vla"), r"images\[0\]: 'vla' is not a split; use one of train, training, restval, dev"),
        (good.replace('"split": "val", ', ""), r"images\[0\]: 'b\.jpg' has no split"),
        (good.replace("sentences", "words"), r"images\[0\]: 'b\.jpg' has no sentences"),
        (good.replace("a.jpg", "b.jpg"), r"images\[1\]: 'b\.jpg' is in the split test, and in dev at .*images\[0\]"),
        (good[:-9], "broken JSON"),
    ):
        path = write(tmp_path / "k", {"dataset_flickr30k.json": text}) / "dataset_flickr30k.json"
        with pytest.raises(CaptionsError, match=reason) as caught:
            collect(source, tmp_path, karpathy=str(path))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    archive = packed(tmp_path / "k.zip", {"dataset_coco.json": good})
    with pytest.raises(DownloadError, match=r"k\.zip does not contain dataset_flickr30k\.json"):
        collect(source, tmp_path, karpathy=str(archive))
