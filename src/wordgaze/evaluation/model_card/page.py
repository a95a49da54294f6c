"""A model card as one self-contained HTML page, without scripts and external requests: the Markdown, and charts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from wordgaze.evaluation.model_card.records import TrainingRecords
from wordgaze.evaluation.model_card.sections import CALIBRATION_SECTION, GROUNDING_SECTION, SCORES_SECTION
from wordgaze.evaluation.report import sections
from wordgaze.evaluation.report.template import page_template

Charts = Mapping[str, Sequence[tuple[str, Markup]]]
"""(heading, SVG) of the charts of each section, by the title of the section."""

_TEMPLATE = Path(__file__).with_name("page.html")


def render_card_page(markdown: str, charts: Charts) -> str:
    """The page of a card as HTML text; equal arguments give equal bytes. HTML within the Markdown is shown as text."""
    [(title, opening), *others] = _parts(markdown)
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    template = page_template(_TEMPLATE, _TEMPLATE.with_suffix(".css"), {})
    return template.render(
        title=title,
        opening=_html(reader, opening),
        parts=[(heading, _html(reader, text), charts.get(heading, ())) for heading, text in others],
    )


def card_charts(records: TrainingRecords) -> Charts:
    """The charts of what is recorded: scores, grounding and calibration."""
    report, details = records.report, records.details
    if report is None or details is None:
        return {}
    found: dict[str, list[tuple[str, Markup]]] = {SCORES_SECTION: sections.score_charts(report, details)}
    if grounding := sections.grounding(report.grounding, details.grounding):
        found[GROUNDING_SECTION] = grounding.charts
    calibration = sections.calibration(report.calibration, details.calibration)
    confidence = sections.confidence(report.confidence, details.confidence)
    found[CALIBRATION_SECTION] = [
        (heading, diagram)
        for heading, diagram in (
            ("Words: probability and accuracy", calibration and calibration.diagram),
            ("Captions: confidence and accuracy", confidence and confidence.diagram),
        )
        if diagram
    ]
    return found


def _parts(markdown: str) -> Iterator[tuple[str, str]]:
    """(title, text) of the card and of each section."""
    for part in re.split(r"^##? ", markdown, flags=re.MULTILINE)[1:] or [markdown]:
        title, _, text = part.partition("\n")
        yield title.strip(), text


def _html(reader: MarkdownIt, text: str) -> Markup:
    table = '<div class="scroll" role="region" aria-label="table" tabindex="0"><table>'
    return Markup(reader.render(text).replace("<table>", table).replace("</table>", "</table></div>"))  # nosec B704  # the reader escapes HTML
