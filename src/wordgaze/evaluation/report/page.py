"""Renders the report as one self-contained HTML page, without scripts and external requests."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Template

from wordgaze.evaluation.report import formats, sections
from wordgaze.evaluation.report.template import page_template
from wordgaze.evaluation.report.training_curves import TrainingCurve
from wordgaze.evaluation.result_types import SCORE_LABELS
from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport, ScoreSummary

if TYPE_CHECKING:
    from PIL import Image

LONG_SIDE = 1200  # pixels of an embedded image, enough to read the words of an attention sheet
WIDE_FROM = 640  # pixels: an attention sheet is wider than the photographs of the data sets and gets the whole width

_TEMPLATE = Path(__file__).with_name("page.html")
_KINDS = {"best": "Best captions", "worst": "Worst captions"}


@dataclass(frozen=True)
class CaptionExample:
    """One image with its caption, references and CIDEr. ``kind`` is ``best``, ``worst`` or a kind of failure."""

    image: str
    caption: str
    references: tuple[str, ...]
    score: float
    picture: "Image.Image | None"
    kind: str


def render_page(
    summary: ScoreSummary,
    details: EvaluationDetails,
    examples: Sequence[CaptionExample],
    title: str,
    trainings: Sequence[TrainingCurve] = (),
) -> str:
    """The report as HTML text; equal arguments give equal bytes.

    A part without results has no section, and a value that is not defined is a dash. Text of the data is escaped. An
    :class:`EvaluationReport` has more sections than the summary of scored files.
    """
    report = summary if isinstance(summary, EvaluationReport) else None
    return _template().render(
        title=title,
        wide_from=WIDE_FROM,
        summary=summary,
        report=report,
        headline=sections.headline(summary, details),
        scores=sections.score_table(summary, details),
        charts=sections.score_charts(summary, details),
        comparisons=[(pair, sections.verdicts(pair)) for pair in details.comparisons],
        breakdowns=sections.breakdowns(details),
        grounding=sections.grounding(report.grounding if report else None, details.grounding),
        calibration=sections.calibration(report.calibration if report else None, details.calibration),
        confidence=sections.confidence(report.confidence if report else None, details.confidence),
        hallucination=report.hallucination if report else None,
        diversity=details.diversity,
        failures=sections.failure_chart(details.failures),
        trainings=trainings,
        groups=_groups(examples),
    )


def _template() -> Template:
    filters = {
        "number": formats.number,
        "signed": formats.signed,
        "minus": formats.minus,
        "percent": formats.percent,
        "interval": formats.interval,
        "p_value": formats.p_value,
        "label": SCORE_LABELS.__getitem__,
        "data_uri": _data_uri,
    }
    return page_template(_TEMPLATE, _TEMPLATE.with_suffix(".css"), filters)


def _groups(examples: Sequence[CaptionExample]) -> list[tuple[str, list[CaptionExample]]]:
    """Best, worst, then each failure in the order of its first example."""
    kinds = dict.fromkeys([*_KINDS, *(example.kind for example in examples)])
    groups = [
        (_KINDS.get(kind, kind[:1].upper() + kind[1:]), [example for example in examples if example.kind == kind])
        for kind in kinds
    ]
    return [(heading, members) for heading, members in groups if members]


def _data_uri(picture: "Image.Image") -> str:
    """The image as a data URI: a JPEG on white, no larger than LONG_SIDE."""
    from PIL import Image

    whole = picture.convert("RGBA")
    small = Image.new("RGB", whole.size, "white")
    small.paste(whole, mask=whole.getchannel("A"))
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
