"""What both training stages share: their curve, the line of an epoch, and what changes where they continue a captioner."""

from pathlib import Path

import pytest

from wordgaze.config.params import InitialParams, Params, TrainParams
from wordgaze.core import paths
from wordgaze.core.errors import ModelError
from wordgaze.core.files import sha256
from wordgaze.data.prepared import Prepared
from wordgaze.stages import train_stage1
from wordgaze.stages.training import EpochLines, continuing_settings, seen_images, write_curve
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.training.training_images import training_images_text

FINETUNING = Params.model_validate({"train_stage1": {"initial": {"captioner": "models/initial/0123"}}})


def test_the_score_to_begin_with_has_no_training_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    write_curve(path, [{"epoch": 0, "dev_cider": 0.5}, {"epoch": 1, "train_loss": -0.25, "dev_cider": 0.625}])
    assert path.read_text() == "epoch,train_loss,dev_cider\n0,,0.5\n1,-0.25,0.625\n"


def test_an_epoch_prints_loss_dev_score_and_the_time_left() -> None:
    lines = EpochLines("train_stage1", 12)
    rows = ({"epoch": 3, "train_loss": 2.5, "dev_cider": 0.5}, {"epoch": 4, "train_loss": 2.25, "dev_cider": 0.25})
    assert [lines.line(row, seconds) for row, seconds in zip(rows, (10.0, 20.0), strict=True)] == [
        "train_stage1: epoch 3 of 12, loss 2.500, dev CIDEr 0.500 (best), at most 1 min 30 s left",
        "train_stage1: epoch 4 of 12, loss 2.250, dev CIDEr 0.250, at most 1 min 20 s left",
    ]


def test_the_score_to_begin_with_is_printed_too() -> None:
    lines = EpochLines("train_stage2", 2)
    assert lines.line({"epoch": 0, "dev_cider": 0.5}, 1.0) == "train_stage2: before the first epoch, dev CIDEr 0.500"
    row = {"epoch": 1, "train_loss": -0.25, "dev_cider": 0.25}
    assert lines.line(row, 4000.0) == "train_stage2: epoch 1 of 2, loss -0.250, dev CIDEr 0.250, at most 1 h 6 min left"


def test_a_captioner_is_continued_for_fewer_epochs_with_a_smaller_learning_rate() -> None:
    settings = TrainParams(epochs=12, learning_rate=0.002)
    assert continuing_settings(settings, InitialParams()) is settings
    initial = InitialParams(captioner="models/initial/0123", epochs=3, learning_rate=0.0005)
    continued = continuing_settings(settings, initial)
    assert (continued.epochs, continued.learning_rate) == (3, 0.0005)
    gentle = TrainParams(epochs=2, learning_rate=1e-5)
    assert continuing_settings(gentle, initial) == gentle


def test_a_captioner_states_its_training_images_and_those_of_the_captioner_that_it_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (paths.RAW / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (paths.RAW / "images" / name).write_bytes(name.encode())
    own = sha256(paths.RAW / "images" / "a.png")
    data = Prepared({"train": {"a.png": [["a"]]}, "dev": {"b.png": [["b"]]}, "test": {}}, {}, Vocabulary(SPECIAL))
    assert seen_images("train_stage2", Params(), data, tmp_path) == {own}
    assert seen_images("train_stage2", FINETUNING, data, tmp_path) is None  # an older captioner does not state them
    (tmp_path / "training_images.txt").write_text(training_images_text(["before"]))
    assert seen_images("train_stage1", FINETUNING, data, tmp_path) == {"before"}
    assert seen_images("train_stage2", FINETUNING, data, tmp_path) == {own, "before"}


def test_a_captioner_that_is_not_there_is_named_before_the_training(
    captioner_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(captioner_folder.parents[1])
    monkeypatch.setenv("DVC_ROOT", str(captioner_folder.parents[1]))
    monkeypatch.setattr(train_stage1, "FeatureStore", lambda _: None)
    with pytest.raises(ModelError, match=r"models/initial/0123 holds no captioner; run wordgaze retrain"):
        train_stage1.run(FINETUNING)
