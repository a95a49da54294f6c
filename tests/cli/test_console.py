"""Tables on the console, from files that an evaluation wrote."""

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.reports import BEAM, GREEDY, evaluation_details, evaluation_report
from wordgaze.cli.console import print_scores, print_spread, print_summary
from wordgaze.core.errors import DataError
from wordgaze.core.tables import write_csv
from wordgaze.evaluation.results import ScoredFiles, ScoreSummary


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


def lines_of(capsys: pytest.CaptureFixture[str], label: str) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if label in line]


def test_the_summary_shows_scores_baselines_and_captions_as_they_are(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation_report().save(reports / "evaluation.json")
    row = {"image": "=1.jpg", "greedy": "a", "beam": "-a dog [runs]", "references": "b"}
    write_csv(reports / "captions.csv", list(row), [row])
    print_summary()
    shown = capsys.readouterr().out
    assert "flickr8k, test split, 1,000 images" in shown
    assert "0.500" in shown
    assert "one caption for every image" in shown
    assert "  =1.jpg: -a dog [runs]" in shown
    assert "scores with confidence intervals, failure cases, training curves" in shown


def test_a_baseline_that_cannot_be_computed_has_no_row_and_a_missing_score_is_a_dash(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"beam": BEAM, "greedy": GREEDY.model_copy(update={"meteor": None})}
    evaluation_report(scores=scores).save(reports / "evaluation.json")
    write_csv(reports / "captions.csv", ["image", "beam"], [{"image": "a.jpg", "beam": "a dog"}])
    print_summary()
    shown = capsys.readouterr().out.splitlines()
    assert not [line for line in shown if "human" in line]
    [greedy] = [line for line in shown if "greedy" in line]
    assert (greedy.count("–"), greedy.count("0.")) == (1, 6)


def test_a_summary_of_another_layout_is_refused(reports: Path) -> None:
    (reports / "evaluation.json").write_text('{"decoding": {"beam": {"cider": 0.5}}}')
    with pytest.raises(DataError, match=r"reports/evaluation\.json is not a valid EvaluationReport"):
        print_summary()


def test_two_systems_are_printed_with_their_difference(capsys: pytest.CaptureFixture[str]) -> None:
    fields = ("dataset", "num_images", "tokenizer", "cider_document_frequencies", "system", "scores", "baselines")
    report = evaluation_report()
    summary = ScoreSummary.model_validate({name: getattr(report, name) for name in fields})
    print_scores(ScoredFiles(summary=summary, details=evaluation_details()))
    shown = capsys.readouterr().out
    assert "95 % intervals of beam: BLEU-4 –––, CIDEr 0.471–0.528" in shown
    assert "beam against greedy: CIDEr +0.034 [+0.021, +0.047], p = 0.001" in shown


def test_the_spread_leaves_out_a_score_that_a_run_lacks(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = reports / "one.json", reports / "two.json"
    evaluation_report().save(one)
    evaluation_report(scores={"beam": BEAM.model_copy(update={"cider": 0.6996, "meteor": None})}, weights="a").save(two)
    with pytest.raises(DataError, match=r"two\.json has other strategies than .*one\.json"):
        print_spread([one, two])
    evaluation_report(scores={"beam": BEAM}).save(one)
    print_spread([one, two])
    [header] = [line for line in capsys.readouterr().out.splitlines() if "CIDEr" in line]
    assert "METEOR" not in header


@pytest.mark.parametrize("other", [{"generation": {"strategy": "beam", "num_beams": 5}}, {"tokenizer": "characters"}])
def test_evaluations_with_other_settings_are_not_averaged(reports: Path, other: dict[str, Any]) -> None:
    evaluation_report().save(reports / "one.json")
    evaluation_report(**other).save(reports / "two.json")
    with pytest.raises(
        DataError, match=r"two\.json has another data set, split, tokenizer or generation settings than"
    ):
        print_spread([reports / "one.json", reports / "two.json"])
