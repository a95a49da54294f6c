"""Your own folder of twenty images and a table of captions, through the whole pipeline by one command."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wordgaze.data.datasets.scenes import Scenes

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twenty images in two folders, one caption each in a CSV."""
    folder = tmp_path / "album"
    drawn = Scenes(20, 96, 5).collect(tmp_path / "drawn").records
    with (tmp_path / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        for i, record in enumerate(drawn):
            name = f"{'summer' if i % 2 else 'winter'}/{record.image}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "drawn" / "images" / record.image).rename(folder / name)
            table.writerow([name, record.captions[0]])
    (tmp_path / "captions.csv").rename(folder / "captions.csv")
    return folder


def test_an_album_of_twenty_pictures_goes_through_the_pipeline(clone: "Callable[[], Project]", album: Path) -> None:
    """The last block of the encoder is fine-tuned, so evaluation has to compute its own features."""
    project = clone()
    changes = (
        "dataset.name=folder",
        f"dataset.source={album}",
        "prepare.min_count=1",
        "train_stage2.finetune_blocks=1",
    )
    shown = project.dvc("exp", "run", *(part for change in changes for part in ("-S", change)))
    assert "Ran experiment" in shown
    report = json.loads((project.root / "reports/evaluation.json").read_text(encoding="utf-8"))
    assert report["dataset"] == "folder"
    assert report["num_images"] >= 1
    assert "human" not in report["baselines"]  # the images have one caption each
    assert 0 <= report["scores"]["beam"]["bleu_1"] <= 1
    cards = [json.loads((project.root / f"models/{name}/captioner.json").read_text()) for name in ("stage1", "stage2")]
    assert [card["tuned"] for card in cards] == [False, True]
    assert len(cards[1]["vocabulary"]) > 20
    assert len(list((project.root / "data/raw/images").iterdir())) == 20
