"""Renders a drift report as one self-contained HTML page, without scripts and external requests."""

from collections.abc import Mapping
from pathlib import Path

from wordgaze.core.printable import printable
from wordgaze.evaluation.report.template import page_template
from wordgaze.inspection.drift import DriftReport
from wordgaze.inspection.page import SHOWN_FAULTS, STYLE
from wordgaze.inspection.summary import percentage

_TEMPLATE = Path(__file__).with_name("drift.html")


def render_drift(report: DriftReport, thumbnails: Mapping[str, str]) -> str:
    """The page as HTML text; equal arguments give equal bytes. Text of the data is escaped.

    ``thumbnails`` maps names of ``report.unlike`` to data URIs; an image without one is shown by its name alone.
    """
    filters = {"count": "{:,}".format, "percent": percentage, "printable": printable, "number": shown_value}
    template = page_template(_TEMPLATE, STYLE, filters)
    return template.render(data=report, thumbnails=thumbnails, shown=SHOWN_FAULTS)


def shown_value(value: float | None) -> str:
    """A measure with three decimals, a dash for None."""
    return "–" if value is None else f"{value:.3f}"
