"""``wordgaze watch``, ``select`` and ``learning-curve``: what their options write, and what is refused at once."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Refused, Run, files
from tests.inspection.captioners import calibrated
from wordgaze.app.caption_queue import CaptionQueue
from wordgaze.app.corrections import Corrections


@pytest.fixture
def folder(write_captioner: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    captioner = calibrated(write_captioner(tmp_path / "captioner"))
    monkeypatch.setattr("wordgaze.tracking.resolve.load", lambda _: captioner)
    return tmp_path / "captioner"


def test_a_file_name_that_is_not_utf_8_is_watched_and_selected(run: Run, folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(20):
        Image.new("RGB", (70, 70), (12 * i, 40, 9)).save(images / f"{i}.png")
    (images / "0.png").rename(images / os.fsdecode(b"caf\xe9.png"))
    watched = ("watch", images, "--model", folder, "--reference", images, "--json", "drift.json")
    code, out, _ = run(*watched)
    assert (code, out.splitlines()[-1]) == (0, "the page is drift.html")
    json.loads(Path("drift.json").read_text(encoding="utf-8"))
    selected = ("select", images, "--model", folder, "--n", 20)
    code, out, _ = run(*selected)
    assert code == 0
    assert r"caf\xe9.png" in out
    queue = CaptionQueue(Path("corrections-queue.jsonl"), Corrections(Path("corrections.sqlite")))
    assert all(Path(row["path"]).is_file() for row in queue.waiting())
    code, *_ = run(*selected, "--output", "next.csv", "--json", "next.json")
    assert code == 0
    with Path("next.csv").open(encoding="utf-8", newline="") as file:
        assert any(row["path"].endswith(r"caf\xe9.png") for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        (("watch", "images"), "--output", "page.html"),
        (("watch", "images"), "--json", "values.json"),
        (("select", "images"), "--output", "next.csv"),
        (("select", "images"), "--json", "next.json"),
        (("learning-curve",), "--output", "curve.svg"),
        (("learning-curve",), "--csv", "curve.csv"),
        (("learning-curve",), "--json", "curve.json"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_any_work(
    refused: Refused, command: tuple[str, ...], option: str, name: str
) -> None:
    path = Path("nowhere") / name
    assert (
        refused(*command, option, path) == f"{path}: there is no folder nowhere; make it, or give {option} another name"
    )
    assert files() == []
