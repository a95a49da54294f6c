"""The stages as commands: wrong parameters and missing inputs are one line."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Refused, files
from wordgaze.core.scratch import exclusive


def test_an_unknown_encoder_is_reported_by_the_stage_that_needs_it(
    refused: Refused, empty_database: Path, picture: Path
) -> None:
    shutil.copy(empty_database, "mlflow.db")
    Path("data/raw/images").mkdir(parents=True)
    Path("data/raw/captions.jsonl").write_text('{"image": "a.png", "captions": ["a"], "objects": [], "split": null}\n')
    Path("params.yaml").write_text("reproducible: same_machine\nfeatures: {encoder: timm/efficientnet_b00}")
    line = refused("features")
    assert line.startswith("encoder 'timm/efficientnet_b00' is unknown to timm; similar names: efficientnet_b0")
    assert not Path("data/features").exists()


def test_parameters_are_checked_before_any_work(refused: Refused) -> None:
    Path("params.yaml").write_text("features: {encodr: timm/resnet50}\nsead: 2\n")
    assert refused("download") == "params.yaml: features.encodr is not a parameter; sead is not a parameter"
    assert files() == ["params.yaml"]
    Path("params.yaml").unlink()
    assert "params.yaml is missing; run wordgaze from the root of the project" in refused("evaluate")


def test_another_rank_of_a_running_stage_is_not_taken_for_a_second_run(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("params.yaml").write_text("reproducible: same_machine\n")
    with exclusive("features", "features"):
        assert refused("features").startswith("another process runs features in ")
        monkeypatch.setenv("RANK", "1")
        assert refused("features") == "data/raw/captions.jsonl is missing; run dvc repro download"


@pytest.mark.parametrize(("stage", "missing"), [
    ("prepare", "data/raw/captions.jsonl is missing; run dvc repro download"),
    ("features", "data/raw/captions.jsonl is missing; run dvc repro download"),
    ("train_stage1", "data/prepared/captions.parquet is missing; run dvc repro prepare"),
    ("evaluate", "data/prepared/captions.parquet is missing; run dvc repro prepare"),
])  # fmt: skip
def test_a_stage_without_its_input_names_the_stage_before(refused: Refused, stage: str, missing: str) -> None:
    Path("params.yaml").write_text("reproducible: same_machine\n")
    assert refused(stage) == missing
