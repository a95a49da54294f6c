"""The contents of the report's sections, computed from the typed results; None or empty where there is nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from wordgaze.evaluation.grounding_results import GroundingDetails, GroundingScores
from wordgaze.evaluation.report.charts import (
    Bar,
    ReliabilityPoint,
    RiskPoint,
    bar_chart,
    reliability_diagram,
    risk_coverage_diagram,
)
from wordgaze.evaluation.report.formats import is_known, number, percent
from wordgaze.evaluation.result_types import SCORE_LABELS, ConfidenceInterval
from wordgaze.evaluation.results import (
    MAIN_SCORES,
    Calibration,
    CaptionConfidence,
    ConfidenceDetails,
    CoveragePoint,
    EvaluationDetails,
    GroupScores,
    ReliabilityBin,
    Scores,
    ScoreSummary,
    SystemComparison,
)

CHARTS = ("cider", "bleu_4")
SIGNIFICANCE = 0.05  # a difference with a smaller p-value is called significant

_MEASURES = {"pointing": "Pointing game", "mass": "Attention inside the boxes"}
_ATTENTION = {
    "attention": "the captioner’s attention",
    "centre": "centre of the image",
    "shuffled": "attention of other words",
    "uniform": "uniform attention",
}


@dataclass(frozen=True)
class Headline:
    """The system with the highest CIDEr, and its main scores as (label, value, interval)."""

    system: str
    tiles: list[tuple[str, float, ConfidenceInterval | None]]


@dataclass(frozen=True)
class ScoreRow:
    """A row of the table of scores; each cell is (score, its interval, whether it is the best of its column)."""

    label: str
    note: str | None
    cells: list[tuple[float | None, ConfidenceInterval | None, bool]]


@dataclass(frozen=True)
class ScoreTable:
    """The table of scores: the names of its columns and (heading, rows) for the systems and the baselines."""

    names: list[str]
    blocks: list[tuple[str, list[ScoreRow]]]


@dataclass(frozen=True)
class Verdict:
    """One score of a comparison: its label, the verdict in words, the difference and whether it is significant."""

    score: str
    text: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    significant: bool


@dataclass(frozen=True)
class Breakdown:
    """The scores of parts of the images as a table of its own."""

    id: str
    heading: str
    link: str
    column: str
    names: list[str]
    groups: Sequence[GroupScores]


@dataclass(frozen=True)
class GroundingSection:
    """Charts of both measures; ``verdict`` is the captioner's pointing score and the highest of the others.

    ``elsewhere`` is the share of the attention that lies on no cell, None where it is none.
    """

    num_words: int | None
    charts: list[tuple[str, Markup]]
    verdict: tuple[float, float] | None
    elsewhere: float | None


@dataclass(frozen=True)
class CalibrationSection:
    """Calibration scores, the reliability diagram and its bins; ``tendency`` is overconfident or underconfident."""

    scores: Calibration
    bins: Sequence[ReliabilityBin]
    diagram: Markup | None
    tendency: str | None


@dataclass(frozen=True)
class ConfidenceSection:
    """The scores of the captions' confidence, both diagrams, the curve at every quarter, and the bins."""

    scores: CaptionConfidence
    curve: Markup
    diagram: Markup
    quarters: Sequence[CoveragePoint]
    bins: Sequence[ReliabilityBin]


def headline(summary: ScoreSummary, details: EvaluationDetails) -> Headline | None:
    """The best system's scores for the top of the page."""
    if not summary.scores:
        return None
    system = max(summary.scores, key=lambda name: summary.scores[name].cider)
    scores, intervals = dict(summary.scores[system].items()), _intervals(details, system)
    return Headline(system, [(SCORE_LABELS[n], scores[n], intervals.get(n)) for n in MAIN_SCORES if n in scores])


def score_table(summary: ScoreSummary, details: EvaluationDetails) -> ScoreTable | None:
    """The scores of the systems and the baselines. The best system of each column is marked, baselines never are."""
    baselines = summary.baselines.labelled(summary.system)
    names = _score_names([*summary.scores.values(), *(baseline.scores for baseline in baselines)])
    if not names:
        return None
    best = {name: max((getattr(row, name) or 0.0 for row in summary.scores.values()), default=0.0) for name in names}
    systems = [
        ScoreRow(system, None, [(value, intervals.get(name), value is not None and value == best[name])
                         for name in names for value in [getattr(scores, name)]])
        for system, scores in summary.scores.items()
        for intervals in [_intervals(details, system)]
    ]  # fmt: skip
    others = [
        ScoreRow(label, note, [(getattr(scores, name), None, False) for name in names])
        for label, note, scores in baselines
    ]
    return ScoreTable(names, [(label, rows) for label, rows in (("Evaluated", systems), ("Baselines", others)) if rows])


def verdicts(comparison: SystemComparison) -> list[Verdict]:
    """What can be concluded about two systems from each score."""
    system, base = comparison.system, comparison.base
    lines = []
    for name, difference in comparison.differences.items():
        value, p = difference.value, difference.p
        significant = is_known(p) and p < SIGNIFICANCE and is_known(value) and value != 0
        better = "better" if is_known(value) and value > 0 else "worse"
        text = (
            f"{system} is {better} than {base}" if significant else f"{system} and {base} do not differ significantly"
        )
        lines.append(Verdict(SCORE_LABELS[name], text, value, difference.low, difference.high, p, significant))
    return lines


def score_charts(summary: ScoreSummary, details: EvaluationDetails) -> list[tuple[str, Markup]]:
    """Bar charts of the main scores, as (heading, SVG)."""
    baselines = summary.baselines.labelled(summary.system)
    charts = []
    for name in CHARTS:
        bars = [
            _score_bar(system, getattr(scores, name), _intervals(details, system).get(name))
            for system, scores in summary.scores.items()
        ] + [_score_bar(label, getattr(scores, name), baseline=True) for label, _, scores in baselines]
        if bars:
            charts.append((SCORE_LABELS[name], bar_chart(SCORE_LABELS[name], bars)))
    return charts


def breakdowns(details: EvaluationDetails) -> list[Breakdown]:
    """The tables of scores by length of the references and by number of objects."""
    tables = [
        ("by_length", "by length of the references", "By length", "Length", details.by_length),
        ("by_objects", "by number of objects", "By objects", "Objects", details.by_objects),
    ]
    return [
        Breakdown(key, heading, link, column, _score_names(group.scores for group in groups), groups)
        for key, heading, link, column, groups in tables
        if groups
    ]


def grounding(scores: GroundingScores | None, details: GroundingDetails | None) -> GroundingSection | None:
    """The grounding scores beside those of attention that does not depend on the word."""
    if scores is None:
        return None
    charts = []
    for measure, heading in _MEASURES.items():
        values = getattr(scores, measure)
        intervals = getattr(details.intervals, measure) if details else None
        bars = [
            Bar(
                label,
                value if is_known(value) else None,
                percent(value),
                _whiskers(getattr(intervals, kind)) if intervals else None,
                baseline=kind != "attention",
            )
            for kind, label in _ATTENTION.items()
            for value in [getattr(values, kind)]
        ]
        charts.append((heading, bar_chart(heading, bars, top=1.0)))
    own, pointing = scores.pointing.attention, scores.pointing
    others = [value for value in (pointing.centre, pointing.shuffled, pointing.uniform) if is_known(value)]
    verdict = (own, max(others)) if is_known(own) and others else None
    elsewhere = scores.elsewhere if scores.is_partial else None
    return GroundingSection(details.num_words if details else None, charts, verdict, elsewhere)


def calibration(scores: Calibration | None, bins: Sequence[ReliabilityBin]) -> CalibrationSection | None:
    """The calibration scores with the reliability diagram, whose bins are in the order of their confidence."""
    if scores is None or not (bins or is_known(scores.ece)):
        return None
    ordered = sorted((one for one in bins if one.count), key=lambda one: one.confidence)
    dots = [ReliabilityPoint(one.confidence, one.accuracy, one.count) for one in ordered]
    surplus = sum((dot.confidence - dot.accuracy) * dot.count for dot in dots)
    tendency = ("overconfident" if surplus > 0 else "underconfident") if surplus else None
    return CalibrationSection(scores, ordered, reliability_diagram(dots) if dots else None, tendency)


def confidence(scores: CaptionConfidence | None, details: ConfidenceDetails | None) -> ConfidenceSection | None:
    """The scores of the captions' confidence with the risk–coverage curve and the reliability diagram."""
    if scores is None or details is None or not details.curve:
        return None
    points = [RiskPoint(one.coverage, one.risk, one.oracle) for one in details.curve]
    dots = [ReliabilityPoint(one.confidence, one.accuracy, one.count) for one in details.reliability]
    quarters = [one for one in details.curve if (4 * one.coverage).is_integer()]
    return ConfidenceSection(
        scores, risk_coverage_diagram(points), reliability_diagram(dots, "caption"), quarters, details.reliability
    )


def failure_chart(counts: Mapping[str, int]) -> Markup | None:
    """A bar for each kind of failure, with its number of captions."""
    bars = [Bar(kind, count, str(count)) for kind, count in counts.items()]
    return bar_chart("Failures", bars) if bars else None


def _score_names(rows: Iterable[Scores]) -> list[str]:
    """The scores that any row has, in the order of SCORE_LABELS."""
    present = {name for row in rows for name, _ in row.items()}
    return [name for name in SCORE_LABELS if name in present]


def _intervals(details: EvaluationDetails, system: str) -> dict[str, ConfidenceInterval]:
    """The intervals of a system's scores that are defined."""
    intervals = details.intervals.get(system)
    return {name: interval for name, interval in intervals.items() if _whiskers(interval)} if intervals else {}


def _score_bar(
    label: str, value: float | None, interval: ConfidenceInterval | None = None, baseline: bool = False
) -> Bar:
    return Bar(label, value, number(value), _whiskers(interval), baseline)


def _whiskers(interval: ConfidenceInterval | None) -> tuple[float, float] | None:
    if interval is None or not is_known(interval.low) or not is_known(interval.high):
        return None
    return interval.low, interval.high
