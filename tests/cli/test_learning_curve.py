"""``wordgaze learning-curve``: its table, its picture and its files, for a curve that is not trained."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Refused, Run
from wordgaze.inspection import learning_curve
from wordgaze.inspection.learning_curve import METRICS, CurvePoint, LearningCurve, fitted_curve
from wordgaze.metrics.intervals import Interval


def curve(*sizes: int) -> LearningCurve:
    points = [
        CurvePoint(n, 3, 50.0, 9.0, {m: Interval(v, v - 0.01, v + 0.01) for m in METRICS}, dict.fromkeys(METRICS, 0.01))
        for n in sizes
        for v in [0.6 - n**-0.3]
    ]
    return fitted_curve("folder", 90, "cider", points)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The sizes, the seeds and the metric of each call."""
    calls: list[tuple[object, ...]] = []

    def measure(_params: object, sizes: list[int], seeds: list[int], metric: str, _: object) -> LearningCurve:
        calls.append((sizes, seeds, metric))
        return curve(*(sizes or (50, 200, 1000, 6000)))

    monkeypatch.setattr(learning_curve, "measure_learning_curve", measure)
    return calls


def test_a_table_a_picture_and_files_are_written(run: Run, measured: list[tuple[object, ...]]) -> None:
    Path("params.yaml").write_text("seed: 1\n", encoding="utf-8")
    code, out, _ = run("learning-curve", "--csv", "c.csv", "--json", "c.json", "-o", "c.svg", "--seeds", "3,3,2,2")
    assert code == 0
    assert measured == [([], [3, 3, 2, 2], "cider")]
    assert "24,000" in out
    assert "extrapolated" in out
    assert "the smaller sizes alone predict" in out
    assert Path("c.svg").read_text(encoding="utf-8").startswith("<svg")
    with Path("c.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["50", "200", "1000", "6000"]
    values = json.loads(Path("c.json").read_text(encoding="utf-8"))
    assert "draws" not in values["law"]
    assert float(rows[0]["cider"]) == values["points"][0]["scores"]["cider"]["value"]


def test_two_sizes_are_not_extrapolated(run: Run, measured: list[tuple[object, ...]]) -> None:
    Path("params.yaml").write_text("seed: 1\n", encoding="utf-8")
    code, out, _ = run("learning-curve", "--sizes", "50, 1_000")
    assert (code, measured[0][0]) == (0, [50, 1000])
    assert "a power law needs three sizes or more" in out


@pytest.mark.parametrize(
    "arguments", [("--sizes", "many"), ("--sizes", "50,0"), ("--seeds", "-1"), ("-o", "curve.png")]
)
def test_an_option_that_cannot_be_used_is_named(refused: Refused, arguments: tuple[str, ...]) -> None:
    Path("params.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert arguments[0].lstrip("-")[0] in refused("learning-curve", *arguments)
