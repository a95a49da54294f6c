"""``wordgaze caption-many``: what it prints, and what it refuses."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Refused, Run
from wordgaze.batch import caption_many


@pytest.fixture
def photos(tmp_path: Path, captioner_folder: Path) -> Path:
    """A folder of three pictures, one of them broken, in the working directory, which has a captioner."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        Image.linear_gradient("L").rotate(90 * number).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no picture")
    return folder


def test_it_prints_how_many_images_have_captions_and_where_the_failures_are(run: Run, photos: Path) -> None:
    code, out, err = run("caption-many", "photos", "-o", "out", "--partition-size", 2, "--strategy", "greedy")
    failures = f"{photos.parent}/out/failures"
    assert (code, out) == (0, f"out: 2 images captioned; 1 could not be captioned, see {failures}\n")
    (photos / "2.png").write_bytes((photos / "1.png").read_bytes())
    command = ("caption-many", "photos", "-o", "out", "--partition-size", 2, "--strategy", "greedy")
    code, out, err = run(*command, "--retry-failures")
    assert (code, out) == (0, "out: 3 images captioned\n")
    assert err.splitlines()[-1] == "out: continuing; 1 of 2 partitions are done"


@pytest.mark.usefixtures("photos")
def test_what_has_no_effect_or_is_not_installed_is_refused_and_nothing_is_written(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("caption-many", "photos", "-o", "out")
    assert refused(*command, "--cluster", "auto") == (
        "--cluster has no effect without --engine ray or spark; add it, or leave --cluster out"
    )
    monkeypatch.setattr(caption_many, "find_spec", lambda _: None)
    assert refused(*command, "--engine", "ray") == 'ray is not installed; pip install "wordgaze[ray]"'
    assert refused(*command, "--engine", "spark") == 'pyspark is not installed; pip install "wordgaze[spark]"'
    assert not (tmp_path / "out").exists()
