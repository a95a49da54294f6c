"""``wordgaze watch`` and ``wordgaze select``: their exit codes, lines and files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Refused, Run, files
from tests.inspection.captioners import write_calibrated
from wordgaze.data.datasets.scenes import Scenes

if TYPE_CHECKING:
    from wordgaze.vision.encoders import Encoder


@pytest.fixture
def model(run: Run, write_captioner: Callable[..., Path], tiny_encoder: "Encoder") -> str:
    """A captioner ``c`` in the working folder, beside 24 images in ``photos``."""
    write_calibrated(write_captioner(Path("c")), tiny_encoder)
    Scenes(60, 64, 3).collect(Path("drawn"))
    for path in sorted(Path("drawn/images").iterdir())[24:]:
        path.unlink()
    Path("drawn/images").rename("photos")
    Path("drawn").rmdir()
    return "c"


def test_the_same_images_are_stable_and_other_captions_are_drift(run: Run, model: str) -> None:
    code, out, _ = run("watch", "photos", "--reference", "photos", "--model", model, "--json", "values.json")
    assert code == 0, out
    assert "24 captions against 24, 0 corrections" in out
    values = json.loads(Path("values.json").read_text(encoding="utf-8"))
    assert [each["value"] for each in values["measures"][:3]] == [0, 0, 0]
    assert values["has_drift"] is False
    assert len(values["unlike"]) == 12
    page = Path("drift.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64") == 12
    assert "Stable" in page
    rows = [json.dumps({"name": f"{i}.jpg", "caption": "outside outside", "confidence": 0.99}) for i in range(40)]
    Path("log.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, out, _ = run("watch", "log.jsonl", "--reference", "photos", "--model", model, "-o", "other.html")
    assert code == 3
    assert "drift" in out
    assert "a log has no images" in Path("other.html").read_text(encoding="utf-8")
    assert run("watch", "log.jsonl", "--reference", "log.jsonl", "--model", model)[0] == 0


def test_what_cannot_be_watched_is_one_line(refused: Refused, model: str) -> None:
    assert "there is no data/prepared to compare with" in refused("watch", "photos", "--model", model)
    same = ("--reference", "photos", "--model", model)
    assert "no such file or folder" in refused("watch", "elsewhere.csv", *same)
    assert "the page is HTML" in refused("watch", "photos", *same, "-o", "page.pdf")
    Path("few.jsonl").write_text(json.dumps({"name": "a.jpg", "caption": "a dog", "confidence": 0.5}), encoding="utf-8")
    line = refused("watch", "few.jsonl", "--reference", "missing", "--model", model)  # before the reference is read
    assert line.startswith("few.jsonl has 1 caption that can be compared; give a folder or a log with at least 20")
    assert "psi has to be above 0" in refused("watch", "photos", *same, "--psi", "0")


def test_the_chosen_images_are_printed_and_queued(run: Run, model: str) -> None:
    code, out, err = run("select", "photos", "--n", "5", "--model", model, "--json", "values.json")
    assert (code, len(out.splitlines())) == (0, 5)
    assert "waiting for a caption in corrections-queue.jsonl: 5 images" in err
    queued = [json.loads(line) for line in Path("corrections-queue.jsonl").read_text(encoding="utf-8").splitlines()]
    assert queued == json.loads(Path("values.json").read_text(encoding="utf-8"))
    assert len({each["path"] for each in queued}) == 5
    Path("corrections-queue.jsonl").unlink()
    assert run("select", "photos", "-n", "50", "--model", model, "--output", "table.csv")[0] == 0
    with Path("table.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 24
    assert "corrections-queue.jsonl" not in files()


def test_a_captioner_without_statistics_is_refused(
    refused: Refused, model: str, write_captioner: Callable[..., Path]
) -> None:
    write_captioner(Path("plain"))
    assert "no statistics of its training images" in refused("select", "photos", "--model", "plain")
