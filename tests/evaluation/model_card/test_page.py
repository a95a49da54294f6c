"""The model card as a page: the text of the Markdown, the charts beside it, and nothing that runs."""

from hashlib import sha256

from tests.evaluation.reports import evaluation_details, evaluation_report
from wordgaze.evaluation.model_card.page import card_charts, render_card_page
from wordgaze.evaluation.model_card.records import TrainingRecords
from wordgaze.evaluation.model_card.sections import CALIBRATION_SECTION, GROUNDING_SECTION, SCORES_SECTION

CARD = f"""# beach: a captioner of wordgaze

It describes an image.

## {SCORES_SECTION}

| strategy | CIDEr |
| --- | --- |
| beam | 0.500 |

## What it cannot say

- <script>alert(1)</script>

A command:

    wordgaze caption photo.jpg
"""
RECORDS = TrainingRecords(report=evaluation_report(), details=evaluation_details())


def test_every_section_is_a_heading_with_its_text() -> None:
    page = render_card_page(CARD, {})
    assert "<title>beach: a captioner of wordgaze</title>" in page
    assert [page.count(f"<h2>{title}</h2>") for title in (SCORES_SECTION, "What it cannot say")] == [1, 1]
    assert "<td>0.500</td>" in page
    assert "<pre><code>wordgaze caption photo.jpg" in page


def test_html_in_the_text_is_shown_and_not_run() -> None:
    page = render_card_page(CARD, {})
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http" not in page  # a page of its own: no address is opened


def test_charts_stand_in_their_sections() -> None:
    charts = card_charts(RECORDS)
    assert {title: len(of_section) for title, of_section in charts.items()} == {
        SCORES_SECTION: 2, GROUNDING_SECTION: 2, CALIBRATION_SECTION: len(charts[CALIBRATION_SECTION]),
    }  # fmt: skip
    page = render_card_page(CARD, charts)
    scores, limits = page.split("<h2>What it cannot say</h2>")
    assert scores.count('<svg class="chart"') == 2 and "<svg" not in limits
    assert "CIDEr: beam 0.500, 0.471 to 0.528" in scores


def test_the_same_records_give_the_same_bytes() -> None:
    pages = {sha256(render_card_page(CARD, card_charts(RECORDS)).encode()).hexdigest() for _ in range(2)}
    assert len(pages) == 1
    assert card_charts(TrainingRecords()) == {}
