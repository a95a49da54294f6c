import math
import zipfile
from io import BytesIO
from pathlib import Path
from threading import Event

import pytest
from PIL import Image

from wordgaze.core.errors import DownloadError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference import caption_stream, inputs
from wordgaze.inference.caption_uploads import caption_uploads
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.table import Row
from wordgaze.inference.uploads import find_uploads

DECODE = GenerationConfig(max_new_tokens=4)


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
    return list(caption_uploads([captioner], find_uploads(sources), DECODE, cancel or Event(), size))


def test_a_broken_picture_is_a_row_and_the_rest_goes_on(tiny_captioner: Captioner, folder: Path) -> None:
    found = find_uploads([folder])
    assert (found.total, [name for name, _ in found.skipped]) == (3, ["notes.txt"])
    first, broken, last = rows(tiny_captioner, folder)
    assert [first.name, broken.name, last.name] == ["a.png", "b.jpg", "day 2/c.png"]
    assert broken == Row(
        "b.jpg",
        error="b.jpg: is not a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, HEIC or JPEG XL image; convert or remove it",
    )
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
    together = caption_stream.caption_ensemble

    def counted(captioners: list[Captioner], images: list[Image.Image], *rest: object) -> object:
        sizes.append(len(images))
        return together(captioners, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(caption_stream, "caption_ensemble", counted)
    monkeypatch.setattr(inputs, "MAX_PIXELS", 8000)
    assert [row.caption for row in rows(tiny_captioner, folder)] == whole
    assert sizes == [1, 1]


def test_what_is_cancelled_ends_after_the_batch(tiny_captioner: Captioner, folder: Path) -> None:
    cancel = Event()
    found = caption_uploads([tiny_captioner], find_uploads([folder]), DECODE, cancel, 2)
    assert next(found).name == "a.png"
    cancel.set()
    assert [row.name for row in found] == ["b.jpg"]
    assert rows(tiny_captioner, folder, cancel=cancel) == []


def test_what_is_no_pictures_fault_ends_the_batch(tiny_captioner: Captioner, folder: Path, tmp_path: Path) -> None:
    wanted = GenerationConfig(force_words=("zebra",))
    with pytest.raises(ParamsError, match="zebra"):
        list(caption_uploads([tiny_captioner], find_uploads([folder]), wanted, Event()))
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"^x.zip is not a zip"):
        find_uploads([folder, tmp_path / "x.zip"])
