"""A folder of images with Chinese captions, through the real stages: what comes out is Chinese, and is scored."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import change_params
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.inference.captioner import Captioner

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow

STAGES = ("download", "prepare", "features", "train_stage1", "train_stage2", "evaluate")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twenty images and a table with five captions each."""
    folder = tmp_path / "相册"
    records = Scenes(20, 64, 5, "zh").collect(folder).records
    with (folder / "说明.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        table.writerows((record.image, caption) for record in records for caption in record.captions)
    return folder


def is_chinese(text: str) -> bool:
    """Whether a text consists of Chinese characters alone, without a blank."""
    return all("\u4e00" <= letter <= "\u9fff" for letter in text)


def test_a_captioner_trained_on_chinese_captions_writes_chinese(clone: "Callable[[], Project]", album: Path) -> None:
    project = clone()
    change_params(
        project.root / "params.yaml",
        {
            "dataset": {"name": "folder", "source": str(album)},
            "prepare": {"tokenizer": "characters", "min_count": 1, "max_words": 40},
            "generation": {"max_new_tokens": 40},
        },
    )
    for stage in STAGES:
        done = project.stage(stage)
        assert done.returncode == 0, done.stderr

    with (project.root / "reports/captions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    written = [row[strategy] for row in rows for strategy in ("greedy", "beam")]
    assert any(written)
    assert all(map(is_chinese, written)), written
    assert all(sum(map(is_chinese, row["references"])) > 5 for row in rows)

    report = json.loads((project.root / "reports/evaluation.json").read_text(encoding="utf-8"))
    assert report["tokenizer"] == "characters"
    assert 0 < report["scores"]["beam"]["bleu_1"] <= 1  # compared as one word, no caption would match
    card = json.loads((project.root / "models/stage2/captioner.json").read_text(encoding="utf-8"))
    assert card["tokenizer"] == "characters"

    captioner = Captioner.load(project.root / "models/stage2", "cpu")
    (candidates,) = captioner.caption([album / "images" / "scene-00000.jpg"])
    assert is_chinese(candidates[0].text)
