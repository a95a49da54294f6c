"""Typed results: what is written as JSON is read back as it was, and files of another layout are refused."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.evaluation.reports import BEAM, GREEDY, evaluation_details, evaluation_report
from wordgaze.core.errors import DataError
from wordgaze.evaluation.grounding_results import GroundingScores
from wordgaze.evaluation.result_types import SCORE_LABELS, ByScore, Result
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport, ScoreReport, Scores
from wordgaze.generation.config import GenerationConfig
from wordgaze.metrics.captions import SCORES

SIX_PLACES = st.integers(0, 10_000_000).map(lambda n: n / 1_000_000)


@pytest.mark.parametrize("result", [evaluation_report(), evaluation_report(grounding=None), evaluation_details(), BEAM])
def test_a_result_is_read_back_as_it_was_written(tmp_path: Path, result: Result) -> None:
    result.save(tmp_path / "result.json")
    assert type(result).load(tmp_path / "result.json") == result


@given(st.builds(Scores, **dict.fromkeys(SCORES, SIX_PLACES), meteor_toolkit=st.none() | SIX_PLACES))
def test_scores_of_six_decimal_places_survive(tmp_path_factory: pytest.TempPathFactory, scores: Scores) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    scores.save(path)
    assert Scores.load(path) == scores


def test_numbers_are_rounded_in_json_alone_and_nan_is_null(tmp_path: Path) -> None:
    scores = BEAM.model_copy(update={"cider": 1 / 3})
    assert scores.cider == 1 / 3
    values = {f"{m}{k}": math.nan for m in ("pointing", "mass") for k in ("", "_uniform", "_centre", "_shuffled")}
    grounding = GroundingScores.from_metric({**values, "pointing": 2 / 3})
    evaluation_report(scores={"beam": scores}, grounding=grounding).save(tmp_path / "evaluation.json")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["scores"]["beam"]["cider"] == 0.333333
    assert written["grounding"]["pointing"] == {
        "attention": 0.666667, "uniform": None, "centre": None, "shuffled": None,
    }  # fmt: skip


def test_the_layout_of_evaluation_json(tmp_path: Path) -> None:
    """DVC reads numbers in nested mappings as metrics: `scores.beam.cider`, `grounding.pointing.attention`."""
    evaluation_report().save(tmp_path / "evaluation.json")
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(written) == {
        "dataset", "split", "num_images", "tokenizer", "cider_document_frequencies", "weights", "generation", "system",
        "scores", "baselines", "grounding", "hallucination", "calibration", "confidence",
    }  # fmt: skip
    assert written["scores"]["beam"]["cider"] == 0.4996
    assert "meteor_toolkit" not in written["scores"]["beam"]
    assert set(written["baselines"]) == {"constant", "constant_caption"}
    assert GenerationConfig.model_validate(written["generation"]) == evaluation_report().generation


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("[]", "the whole must be a mapping, not []"),
        ("{", "it is not JSON: EOF while parsing"),
        ('{"decoding": {}}', "dataset is missing"),
        (None, "decode is not a parameter"),
    ],
)
def test_a_file_of_another_layout_is_refused_by_one_line(tmp_path: Path, content: str | None, place: str) -> None:
    path = tmp_path / "evaluation.json"
    whole = evaluation_report().model_dump(mode="json")
    path.write_text(json.dumps({**whole, "decode": {}}) if content is None else content)
    with pytest.raises(DataError) as raised:
        EvaluationReport.load(path)
    message = str(raised.value)
    assert message.startswith(f"{path} is not a valid EvaluationReport of this version of wordgaze ({place}")
    assert message.endswith("write it again with `dvc repro -f -s evaluate`")
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"details\.json cannot be read \(No such file or directory\); run dvc repro"):
        EvaluationDetails.load(tmp_path / "details.json")


def test_every_score_has_a_label_and_a_field() -> None:
    assert set(SCORE_LABELS) == set(ByScore.model_fields)
    assert set(SCORES) < set(SCORE_LABELS)
    assert [name for name, _ in BEAM.items()] == [name for name in SCORE_LABELS if name in SCORES]
    with pytest.raises(ValidationError, match="spice"):
        Scores.model_validate({**BEAM.model_dump(), "spice": 0.1})


def test_results_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BEAM.cider = 1.0  # type: ignore[misc]


def test_baselines_have_labels_and_those_that_are_absent_are_left_out() -> None:
    baselines = evaluation_report(baselines={"human": GREEDY, "fewer_references": BEAM}).baselines
    assert baselines.labelled("beam") == [
        ("human captions, each against the others", None, GREEDY),
        ("beam, one reference fewer", None, BEAM),
    ]


def test_a_score_report_prints_as_a_table() -> None:
    intervals = evaluation_details().intervals["beam"]
    report = ScoreReport(
        **BEAM.model_copy(update={"meteor": None}).model_dump(), num_images=3, tokenizer="ptb", intervals=intervals
    )
    lines = str(report).splitlines()
    assert lines[0] == "3 images"
    assert lines[4] == "BLEU-4    0.204"
    assert lines[-1] == "CIDEr     0.500  [0.471, 0.528]"
    assert "METEOR" not in str(report)
