from pathlib import Path

import pytest
from PIL import Image

from wordgaze.app.caption_queue import CaptionQueue
from wordgaze.app.corrections import Corrections
from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256


def test_an_image_leaves_the_queue_with_its_correction(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "corrections.sqlite")
    queue = CaptionQueue(tmp_path / "queue.jsonl", corrections)
    assert queue.waiting() == []
    rows = []
    for colour in ("red", "blue"):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        rows.append({"path": str(path), "checksum": sha256(path), "caption": "a dog", "confidence": 0.2})
    queue.put(rows)
    assert queue.waiting() == rows
    corrections.add((tmp_path / "red.png").read_bytes(), "red.png", "a dog", "a red square", "m", "1")
    assert queue.waiting() == rows[1:]


def test_a_broken_queue_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"queue\.jsonl is not a queue .* run wordgaze select again"):
        CaptionQueue(tmp_path / "queue.jsonl", Corrections(tmp_path / "corrections.sqlite")).waiting()
