import csv
import json
import math
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Event

import pyarrow.parquet
import pytest
from PIL import Image

from wordgaze.app import batch
from wordgaze.app.batch import Row, caption_batch, find_uploads, write_table
from wordgaze.captioner import Captioner
from wordgaze.errors import CaptionsError, DownloadError, ParamsError
from wordgaze.params import DecodeParams

DECODE = DecodeParams(max_length=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, a broken one between them, a file that is no picture and a hidden one."""
    root = tmp_path / "trip"
    (root / "day 2").mkdir(parents=True)
    Image.new("RGB", (400, 20), "red").save(root / "a.png")
    (root / "b.jpg").write_bytes(b"no picture")
    Image.linear_gradient("L").save(root / "day 2" / "c.png")
    (root / "notes.txt").write_text("text")
    (root / ".hidden.png").write_bytes(b"")
    return root


def rows(captioner: Captioner, *sources: Path, cancel: Event | None = None, size: int = 16) -> list[Row]:
    return list(caption_batch([captioner], find_uploads(sources), DECODE, cancel or Event(), size))


def test_a_broken_picture_is_a_row_and_the_rest_goes_on(tiny_captioner: Captioner, folder: Path) -> None:
    found = find_uploads([folder])
    assert (found.total, [name for name, _ in found.skipped]) == (3, ["notes.txt"])
    first, broken, last = rows(tiny_captioner, folder)
    assert [first.name, broken.name, last.name] == ["a.png", "b.jpg", "day 2/c.png"]
    assert broken == Row("b.jpg", error="b.jpg: is no JPEG, PNG, WebP, GIF, BMP or TIFF picture; convert or remove it")
    [best] = tiny_captioner.caption([Image.new("RGB", (400, 20), "red")], DECODE)[0]
    assert (first.caption, first.error) == (best.text, None)
    assert first.log_prob == pytest.approx(best.log_prob, abs=1e-5)
    assert first.probability == pytest.approx(math.exp(best.log_prob), rel=1e-4)
    with Image.open(BytesIO(first.thumbnail)) as small:
        assert (small.format, small.size) == ("JPEG", (160, 8))


def test_a_zip_and_loose_files_give_what_the_folder_gives(
    tiny_captioner: Captioner, folder: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "trip.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for name in ("a.png", "b.jpg", "day 2/c.png", "notes.txt"):
            file.write(folder / name, name)
    whole = rows(tiny_captioner, folder)
    assert rows(tiny_captioner, packed) == whole
    both = rows(tiny_captioner, packed, folder / "a.png")
    assert both == [*whole, whole[0]]
    assert find_uploads([packed, folder / "a.png"]).total == 4


def test_batches_change_no_caption_and_a_large_picture_ends_one(
    tiny_captioner: Captioner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [row.caption for row in rows(tiny_captioner, folder)]
    assert [row.caption for row in rows(tiny_captioner, folder, size=1)] == whole
    sizes: list[int] = []
    together = batch.caption_together

    def counted(captioners: list[Captioner], images: list[Image.Image], *rest: object) -> object:
        sizes.append(len(images))
        return together(captioners, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "caption_together", counted)
    monkeypatch.setattr(batch, "MAX_PIXELS", 8000)
    assert [row.caption for row in rows(tiny_captioner, folder)] == whole
    assert sizes == [1, 1]


def test_what_is_cancelled_ends_after_the_batch(tiny_captioner: Captioner, folder: Path) -> None:
    cancel = Event()
    found = caption_batch([tiny_captioner], find_uploads([folder]), DECODE, cancel, 2)
    assert next(found).name == "a.png"
    cancel.set()
    assert [row.name for row in found] == ["b.jpg"]
    assert rows(tiny_captioner, folder, cancel=cancel) == []


def test_what_is_no_pictures_fault_ends_the_batch(tiny_captioner: Captioner, folder: Path, tmp_path: Path) -> None:
    wanted = DecodeParams(required=("zebra",))
    with pytest.raises(ParamsError, match="zebra"):
        list(caption_batch([tiny_captioner], find_uploads([folder]), wanted, Event()))
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"^x.zip is no zip"):
        find_uploads([folder, tmp_path / "x.zip"])


TABLE = [
    Row("=1+1.jpg", "@a dog", -2.5, 0.1, None, b"jpeg"),
    Row("b, c.jpg", error='-"broken"'),
    Row("Zürich 犬.jpg", "a cat", -1.0, 0.25),
]


def test_a_table_holds_the_rows_as_they_are(tmp_path: Path) -> None:
    columns = ["name", "caption", "log_prob", "probability", "error"]
    wanted = [dict(zip(columns, (r.name, r.caption, r.log_prob, r.probability, r.error), strict=True)) for r in TABLE]
    write_table(TABLE, tmp_path / "t.jsonl")
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text("utf-8").splitlines()] == wanted
    write_table(iter(TABLE), tmp_path / "t.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist() == wanted
    write_table([], tmp_path / "none.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "none.parquet").column_names == columns


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        header, *found = csv.reader(file)
    assert header == ["name", "caption", "log_prob", "probability", "error"]
    assert found == [
        ["'=1+1.jpg", "'@a dog", "-2.5", "0.1", ""],
        ["b, c.jpg", "", "", "", '\'-"broken"'],
        ["Zürich 犬.jpg", "a cat", "-1.0", "0.25", ""],
    ]


def test_a_table_of_another_kind_is_refused_and_a_failed_one_leaves_the_old(tmp_path: Path) -> None:
    with pytest.raises(CaptionsError, match=r"end its name with .csv, .jsonl, .parquet"):
        write_table(TABLE, tmp_path / "t.xlsx")
    write_table(TABLE, tmp_path / "t.jsonl")
    before = (tmp_path / "t.jsonl").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_table([Row("a", "b", math.nan)], tmp_path / "t.jsonl")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("t.jsonl", before)]
