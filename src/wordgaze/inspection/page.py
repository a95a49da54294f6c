"""Renders an inspection as one self-contained HTML page, without scripts and external requests."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from markupsafe import Markup
from rich.filesize import decimal

from wordgaze.core.printable import printable
from wordgaze.evaluation.report.template import page_template
from wordgaze.inspection.captions import length_bins
from wordgaze.inspection.charts import histogram
from wordgaze.inspection.duplicates import HASH_DISTANCE
from wordgaze.inspection.languages import language_name
from wordgaze.inspection.results import DataInspection
from wordgaze.inspection.sheet import ChosenPictures
from wordgaze.inspection.summary import percentage, within

SHOWN_FAULTS = 200
"""The number of examples of one kind of fault on the page; the JSON file has all."""

_TEMPLATE = Path(__file__).with_name("page.html")
STYLE = Path(__file__).with_name("page.css")
"""The style sheet of the pages about data."""


def render_inspection(inspection: DataInspection, chosen: ChosenPictures, thumbnails: Mapping[str, str]) -> str:
    """The page as HTML text; equal arguments give equal bytes. Text of the data is escaped.

    ``thumbnails`` maps names of images to data URIs; an image without one is shown by its name alone.
    """
    filters = {
        "count": "{:,}".format,
        "percent": percentage,
        "bytes": decimal,
        "language": language_name,
        "printable": printable,
        "within": partial(within, inspection.source),
    }
    template = page_template(_TEMPLATE, STYLE, filters)
    return template.render(
        data=inspection,
        chosen=chosen,
        thumbnails=thumbnails,
        shown_faults=SHOWN_FAULTS,
        hash_distance=HASH_DISTANCE,
        charts=_charts(inspection),
    )


def _charts(inspection: DataInspection) -> list[tuple[str, Markup]]:
    """(heading, chart) for the section about captions."""
    captions = inspection.captions
    if not captions.num_captions:
        return []
    lengths, per_image = "Words per caption", "Captions per image"
    return [
        (lengths, histogram(lengths, length_bins(captions.lengths), "words")),
        (per_image, histogram(per_image, length_bins(captions.per_image), "captions")),
    ]
