"""The curves of the report: what is read from the files of the training stages, and how it is drawn."""

from pathlib import Path

from tests.evaluation.reports import evaluation_details, evaluation_report
from wordgaze.evaluation.report.page import render_page
from wordgaze.evaluation.report.training_curves import TrainingCurve, line_chart, read_training_curve

LOSS = "epoch,learning_rate,train_loss,dev_cider\n1,0.1,4.5,0.25\n2,0.1,3.25,0.5\n3,0.1,3.0,0.5\n"
REWARD = (
    "epoch,learning_rate,train_loss,train_reward,dev_cider\n0,,,,0.48\n1,0.1,-0.7,0.7,0.53\n2,0.1,-0.76,0.76,0.56\n"
)


def read(folder: Path, text: str, stage: str = "Stage 1") -> TrainingCurve:
    path = folder / "curve.csv"
    path.write_text(text)
    curve = read_training_curve(path, stage)
    assert curve is not None
    return curve


def test_the_loss_and_the_dev_score_are_drawn_with_the_epoch_that_was_kept(tmp_path: Path) -> None:
    curve = read(tmp_path, LOSS)
    assert curve.best.epoch == 2  # the first of two with the same score: training keeps that one
    [(loss, drawn), (score, scores)] = curve.charts
    assert (loss, score) == ("Stage 1: training loss", "Stage 1: CIDEr of the dev split")
    assert 'aria-label="Stage 1: training loss: epoch 1 4.500; epoch 2 3.250; epoch 3 3.000"' in drawn
    assert scores.count("<circle") == 3 and scores.count('r="6"') == 1
    assert '<circle class="dot" cx="230.0" cy="12.0" r="6"><title>epoch 2: 0.500</title>' in scores


def test_self_critical_training_shows_the_reward_and_the_score_before_it(tmp_path: Path) -> None:
    curve = read(tmp_path, REWARD, "Stage 2")
    [(reward, drawn), (_, scores)] = curve.charts
    assert reward == "Stage 2: reward of sampled captions"
    assert (drawn.count("<circle"), scores.count("<circle")) == (2, 3)
    assert "epoch 0 0.480" in scores and "epoch 0" not in drawn


def test_a_captioner_from_elsewhere_has_no_curve(tmp_path: Path) -> None:
    assert read_training_curve(tmp_path / "train_stage1.csv", "Stage 1") is None
    assert 'id="training"' not in render_page(evaluation_report(), evaluation_details(), [], "x")


def test_the_report_has_the_curves_and_their_values(tmp_path: Path) -> None:
    trainings = [read(tmp_path, LOSS), read(tmp_path, REWARD, "Stage 2")]
    page = render_page(evaluation_report(), evaluation_details(), [], "x", trainings)
    assert page.count('<a href="#training">Training</a>') == 1
    assert page.count('<svg class="chart" role="img" viewBox="0 0 420 180"') == 4
    assert "2, the best</th>" in page and '<td class="number">–</td><td class="number">0.480</td>' in page
    assert "<script" not in page


def test_a_single_epoch_and_equal_values_are_drawn() -> None:
    assert line_chart("loss", [(1, 2.0)], 1).count("<circle") == 1
    assert "nan" not in line_chart("score", [(1, 0.0), (2, 0.0)], 1)
