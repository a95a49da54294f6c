import hashlib
import multiprocessing
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.app import corrections as module
from wordgaze.app.corrections import Corrections
from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.core.errors import CaptionsError, DataError, ImageError
from wordgaze.data.datasets import open_dataset

MODEL = ("models:/captioner@champion", "3")


def encoded(colour: str, kind: str = "JPEG") -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, kind)
    return file.getvalue()


RED = encoded("red")


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "corrections.sqlite")


def test_a_correction_is_kept_with_its_picture_as_it_was(corrections: Corrections) -> None:
    assert corrections.all() == []
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    number = corrections.add(RED, "../trip/<b>dog</b>.jpg", "a cat", "  A dog\n on grass. ", *MODEL)
    [kept] = corrections.all()
    assert (kept.id, kept.suggested, kept.accepted, kept.model, kept.version) == (
        number, "a cat", "A dog on grass.", *MODEL
    )  # fmt: skip
    assert before <= datetime.fromisoformat(kept.time) <= datetime.now(UTC)
    assert kept.time.endswith("+00:00")
    assert kept.checksum == hashlib.sha256(RED).hexdigest()
    assert kept.picture == "b>.jpg"
    assert (corrections.pictures / kept.file).read_bytes() == RED
    assert kept.file == f"{kept.checksum}.jpg"


def test_what_has_no_file_is_kept_as_png(corrections: Corrections) -> None:
    corrections.add(Image.new("RGB", (3, 2), "blue"), "pasted", "", "a blue wall", *MODEL)
    corrections.add(encoded("red", "WEBP"), "a.webp", "", "a red wall", *MODEL)
    pasted, webp = corrections.all()
    with Image.open(corrections.pictures / pasted.file) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (3, 2), (0, 0, 255))
    assert webp.file.endswith(".webp")


@pytest.mark.parametrize(
    "caption",
    ["一只狗在跑步。", "เด็กกำลังวิ่ง", "سگ می\u200cدود", "एक कुत्ता", "الكلب يجري،", "İki köpek", "강아지"],
)
def test_a_caption_in_any_language_is_kept(corrections: Corrections, caption: str) -> None:
    corrections.add(RED, "a.jpg", "", caption, *MODEL)
    assert [kept.accepted for kept in corrections.all()] == [caption]


@pytest.mark.parametrize(
    "caption", ["", " \n", "...", "12", "NaN", "=SUM(A1) dogs", "@dog", "dog \x00 cat", "dog " * 400]
)
def test_a_caption_that_cannot_be_trained_on_is_refused(corrections: Corrections, caption: str) -> None:
    with pytest.raises(CaptionsError):
        corrections.add(RED, "a.jpg", "", caption, *MODEL)
    with pytest.raises(ImageError, match=r"^a.jpg: is not a JPEG"):
        corrections.add(b"<html>", "a.jpg", "", "a dog", *MODEL)
    assert corrections.all() == []
    assert not corrections.pictures.exists()


def test_the_loop_from_use_back_to_training_is_closed(corrections: Corrections, tmp_path: Path) -> None:
    generated = [
        (RED, 'A "red" wall, painted'),
        (encoded("lime", "PNG"), "a green wall"),
        (RED, "a red door | closed"),
        (RED, 'A "red" wall, painted'),
        (encoded("navy", "BMP"), "ein blaues Quadrat – schön"),
        (encoded("gold"), "'=1+1' on a yellow wall"),
    ]
    for picture, caption in generated:
        corrections.add(picture, "same name.jpg", "a wall", caption, *MODEL)
    assert corrections.export(tmp_path / "set") == 5

    params = DatasetParams(name="folder", source=str(tmp_path / "set"))
    records = open_dataset(params, PrepareParams(), tmp_path / "cache").collect(tmp_path / "raw").records
    wanted: dict[str, list[str]] = {}
    for picture, caption in generated[:3] + generated[4:]:
        wanted.setdefault(hashlib.sha256(picture).hexdigest(), []).append(caption)
    assert {Path(record.image).stem: list(record.captions) for record in records} == wanted
    for record in records:
        data = (tmp_path / "raw" / "images" / record.image).read_bytes()
        assert hashlib.sha256(data).hexdigest() == Path(record.image).stem


def test_an_export_is_whole_or_not_at_all(corrections: Corrections, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no corrections"):
        corrections.export(tmp_path / "set")
    corrections.add(RED, "a.jpg", "", "a red wall", *MODEL)
    corrections.add(encoded("lime"), "b.jpg", "", "a green wall", *MODEL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="full exists and is not empty; give a new or empty folder"):
        corrections.export(tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert corrections.export(tmp_path / "empty") == 2
    (corrections.pictures / corrections.all()[1].file).write_bytes(RED)
    with pytest.raises(DataError, match="is missing or was changed"):
        corrections.export(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def add_many(path: Path, worker: int, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    for n in range(10):
        Corrections(path).add(RED, f"{worker}.jpg", "", f"a wall number {n} of {worker}", *MODEL)


def test_several_processes_write_at_once_into_a_database_that_none_has_made(corrections: Corrections) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    workers = [context.Process(target=add_many, args=(corrections.path, n, start)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(each.accepted for each in corrections.all()) == sorted(
        f"a wall number {n} of {worker}" for n in range(10) for worker in range(4)
    )
    assert [each.id for each in corrections.all()] == list(range(1, 41))
    assert len(list(corrections.pictures.iterdir())) == 1


def test_a_database_that_is_none_or_of_another_version_is_reported(corrections: Corrections) -> None:
    corrections.add(RED, "a.jpg", "", "a wall", *MODEL)
    with closing(sqlite3.connect(corrections.path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(DataError, match="has version 7, this wordgaze reads version 1"):
        corrections.all()
    corrections.path.write_text("no database, but long enough to look at " * 9)
    for used in (corrections.all, lambda: corrections.add(RED, "a.jpg", "", "a wall", *MODEL)):
        with pytest.raises(DataError, match=r"corrections.sqlite cannot be used \(file is not a database\)"):
            used()


def test_what_a_client_sends_beside_the_caption_is_kept_as_one_short_clean_line(corrections: Corrections) -> None:
    forged = "\x1b]0;OWNED\x07dog\u202e\n2026\tforged.jpg\t" + "x" * 5000
    corrections.add(RED, f"\x1b[2J{'x' * 500}.jpg", forged, "a red wall", forged, forged)
    [kept] = corrections.all()
    for text in (kept.picture, kept.suggested, kept.model, kept.version):
        assert text.isprintable() and len(text) <= 1000
    assert kept.suggested.startswith("\ufffd]0;OWNED\ufffddog\ufffd 2026 forged.jpg x")


def test_corrections_do_not_fill_the_disk(corrections: Corrections, monkeypatch: pytest.MonkeyPatch) -> None:
    assert corrections.add(RED, "a.jpg", "", "a red wall", *MODEL) == 1
    with monkeypatch.context() as patch:
        patch.setattr(module, "MAX_PICTURE_BYTES", 2 * len(RED))
        assert corrections.add(RED, "a.jpg", "", "a wall in red", *MODEL) == 2
        with pytest.raises(DataError, match=r"^corrections.sqlite is full: .*; export the corrections"):
            corrections.add(encoded("lime") + bytes(500), "b.jpg", "", "a green wall", *MODEL)
    monkeypatch.setattr(module, "MAX_CORRECTIONS", 2)
    with pytest.raises(DataError, match="is full"):
        corrections.add(RED, "a.jpg", "", "another wall", *MODEL)
    assert len(corrections.all()) == 2 and len(list(corrections.pictures.iterdir())) == 1


def test_a_later_correction_changes_none_that_is_kept(corrections: Corrections) -> None:
    corrections.add(RED, "a.jpg", "a wall", "a red wall", *MODEL)
    before = corrections.all()
    corrections.add(RED, "a.jpg", "a wall", "another caption", *MODEL)
    assert corrections.all()[:1] == before
