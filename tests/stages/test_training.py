"""The curve that a training stage writes for ``dvc plots``."""

from pathlib import Path

from wordgaze.stages.training import write_curve


def test_the_score_to_begin_with_has_no_training_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    write_curve(path, [{"epoch": 0, "dev_cider": 0.5}, {"epoch": 1, "train_loss": -0.25, "dev_cider": 0.625}])
    assert path.read_text() == "epoch,train_loss,dev_cider\n0,,0.5\n1,-0.25,0.625\n"
