"""Flickr8k: both spellings, the official splits, absent pictures, broken lines, and the real files where they are."""

import hashlib
import io
import logging
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.audit import audit
from wordgaze.data.datasets.flickr8k import PUBLIC, Flickr8k
from wordgaze.data.records import Record

TOKENS = (
    "a.jpg#0\tA dog .\na.jpg#1\tA brown dog .\n\nb.jpg#0\tA cat\u2028.\n"
    "absent.jpg.1#0\tNobody .\nout.jpg#0\tAn extra .\n"
)
SHARED = Path(os.environ.get("WORDGAZE_SHARED", Path(__file__).parents[3] / "../shared/datasets"))


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def mirror(
    folder: Path,
    tokens: str | bytes = TOKENS,
    train: str = "\ufeffa.jpg\n",
    test: str = "c.jpg",
    spelling: str = "Flicker8k_Dataset",
) -> str:
    """Two tiny zips of the original's layout; c.jpg is in a list and captioned by nobody."""
    with zipfile.ZipFile(folder / "Flickr8k_text.zip", "w") as archive:
        archive.writestr("Flickr8k.token.txt", tokens)
        archive.writestr("Flickr_8k.trainImages.txt", train)
        archive.writestr("Flickr_8k.devImages.txt", "b.jpg\n\n")
        archive.writestr("Flickr_8k.testImages.txt", test)
        archive.writestr("readme.txt", "not needed")
        archive.writestr("__MACOSX/._Flickr8k.token.txt", "junk")
    with zipfile.ZipFile(folder / "Flickr8k_Dataset.zip", "w") as archive:
        for name in ("a.jpg", "b.jpg", "c.jpg", "out.jpg"):
            archive.writestr(f"{spelling}/{name}", jpeg())
        archive.writestr(f"__MACOSX/{spelling}/._a.jpg", "junk")
        archive.writestr(f"{spelling}/.DS_Store", "junk")
    return str(folder)


def sums_of(source: Path) -> str:
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  some/{p.name}\n" for p in source.glob("*.zip"))


@pytest.mark.parametrize("spelling", ["Flicker8k_Dataset", "Flickr8k_Dataset"])
def test_records_pictures_and_splits(tmp_path: Path, spelling: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror").mkdir()
    source = mirror(tmp_path / "mirror", spelling=spelling)
    with caplog.at_level(logging.INFO):
        records = Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw").records
    assert records == [
        Record("a.jpg", ("A dog .", "A brown dog ."), "train"),
        Record("absent.jpg.1", ("Nobody .",)),
        Record("b.jpg", ("A cat\u2028.",), "dev"),
        Record("c.jpg", (), "test"),
    ]
    assert sorted(p.name for p in (tmp_path / "raw" / "images").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    assert "omitted 1 images that are in no official split" in caplog.text
    assert "the original 3395237" in caplog.text


def test_the_mirror_may_be_a_file_address_with_checksums(tmp_path: Path) -> None:
    source = mirror(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(sums_of(tmp_path))
    assert len(Flickr8k(tmp_path.as_uri() + "/", tmp_path / "cache").collect(tmp_path / "raw").records) == 4
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  flickr8k/Flickr8k_Dataset.zip\n")
    with pytest.raises(DownloadError, match=r"Flickr8k_Dataset\.zip has the checksum"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")


@pytest.mark.parametrize("source", ["", PUBLIC + "/"])
def test_without_a_source_the_public_copy_is_asked(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(address: str, *rest: object) -> Path:
        asked.append(address)
        raise DownloadError("not in a test")

    monkeypatch.setattr("wordgaze.data.datasets.source.fetch", refuse)
    with pytest.raises(DownloadError, match="not in a test"):
        Flickr8k(source, tmp_path).collect(tmp_path)
    assert asked == [f"{PUBLIC}/Flickr8k_text.zip"]


@pytest.mark.parametrize("line", ["a.jpg#0 no tab", "a.jpg\tno number", "a.jpg#x\tno digit", "#0\tno name"])
def test_a_broken_caption_line_is_named(tmp_path: Path, line: str) -> None:
    source = mirror(tmp_path, tokens=f"a.jpg#0\tA dog .\n\n{line}\n")
    with pytest.raises(CaptionsError, match=r"Flickr8k_text\.zip/Flickr8k\.token\.txt:3 is not"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")


def test_a_picture_in_two_splits_is_refused(tmp_path: Path) -> None:
    source = mirror(tmp_path, train="a.jpg\nb.jpg\n")
    with pytest.raises(CaptionsError, match=r"devImages\.txt:1: 'b\.jpg' is in the train split too"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")


def test_captions_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    source = mirror(tmp_path, tokens=b"a.jpg#0\t\xb9\xb7\xb9\xb7 \xc0\xcc\xc0\xcc .\n")
    with pytest.raises(CaptionsError, match="not UTF-8"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")


def test_zips_without_the_expected_files_are_refused(tmp_path: Path) -> None:
    source = mirror(tmp_path, spelling="Elsewhere")
    with zipfile.ZipFile(tmp_path / "Flickr8k_Dataset.zip", "w") as archive:
        archive.writestr("Flicker8k_Dataset/readme.txt", "no picture")
    with pytest.raises(DownloadError, match=r"has no Flicker8k_Dataset/\*\.jpg"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")
    mirror(tmp_path)
    with zipfile.ZipFile(tmp_path / "Flickr8k_text.zip", "w") as archive:
        archive.writestr("Flickr8k.token.txt", TOKENS)
    with pytest.raises(DownloadError, match=r"has no Flickr_8k\.trainImages\.txt"):
        Flickr8k(source, tmp_path / "cache").collect(tmp_path / "raw")


@pytest.mark.parametrize("folder", ["flickr8k/IMAGES", "Flicker8k_Dataset/Flicker8k_Dataset", "pictures"])
def test_folders_that_other_programs_unpacked_are_read(tmp_path: Path, folder: str) -> None:
    with zipfile.ZipFile(Path(mirror(tmp_path)) / "Flickr8k_text.zip") as archive:
        archive.extractall(tmp_path / "mine" / "TEXT")
    for name in ("A.JPG", "b.jpeg", "c.jpg", "out.jpg", "._a.jpg", "Thumbs.db"):
        path = tmp_path / "mine" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg())
    for path in (tmp_path / "mine" / "TEXT").glob("*.txt"):
        path.rename(path.with_name(path.name.upper()))
    records = Flickr8k(str(tmp_path / "mine"), tmp_path / "cache").collect(tmp_path / "raw").records
    assert [record.image for record in records] == ["a.jpg", "absent.jpg.1", "b.jpg", "c.jpg"]
    assert sorted(path.name for path in (tmp_path / "raw" / "images").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.skipif(
    not (SHARED / "flickr8k" / "Flickr8k_Dataset.zip").is_file(),
    reason="the real Flickr8k is not here: set WORDGAZE_SHARED to the folder that holds flickr8k/",
)
def test_the_real_flickr8k(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = Flickr8k(str((SHARED / "flickr8k").resolve()), tmp_path / "cache").collect(tmp_path / "raw").records
    with caplog.at_level("INFO"):
        kept, report = audit(records, tmp_path / "raw", max_faulty=0.02)
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "left out of 8092 images: 92 missing pictures"
    ]
    assert Counter(record.split for record in kept) == {"train": 6000, "dev": 1000, "test": 1000}
    assert {len(record.captions) for record in kept} == {5}
    assert (report.seen, report.missing_pictures.count, report.kept) == (8092, 92, 8000)
