"""The page of scores: its sections, its text, and that a browser needs nothing else to show it."""

import base64
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.browser import CHROMIUM, NO_CHROMIUM
from tests.evaluation.reports import GREEDY, WEIGHTS, evaluation_details, evaluation_report
from wordgaze.evaluation.report.charts import Bar, ReliabilityPoint, bar_chart, reliability_diagram
from wordgaze.evaluation.report.page import CaptionExample, render_page
from wordgaze.evaluation.results import Baselines, EvaluationDetails, EvaluationReport, ScoreSummary

VOID = {"meta", "link", "img", "br", "hr", "line", "rect", "path", "circle", "polyline"}
SCRIPT = "<script>alert(1)</script>"
SECTIONS = [
    "scores", "charts", "comparisons", "by_length", "by_objects", "grounding", "calibration", "confidence",
    "hallucination", "diversity", "failures", "examples",
]  # fmt: skip

REPORT, DETAILS = evaluation_report(), evaluation_details()
EXAMPLES = [
    CaptionExample("worst.jpg", "two men", ("A cat .",), 0.0, None, "worst"),
    CaptionExample("lost.jpg", "", (), float("nan"), None, "says nothing"),
    CaptionExample(
        "best.png", "a red square", ("A square .", "It is red ."), 2.31, Image.new("RGBA", (40, 30), "red"), "best"
    ),
]


class Reader(HTMLParser):
    """The elements of a page, its ids and its text; fails where a tag is closed that is not open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.all("section")]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(REPORT, DETAILS, EXAMPLES, "Evaluation of a captioner")


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def test_every_part_of_the_report_has_its_section_and_a_link_to_it(read: Reader) -> None:
    assert read.sections == SECTIONS
    assert [link["href"] for link in read.all("a")] == [f"#{name}" for name in SECTIONS]
    assert "1,000 images of the test split of flickr8k were captioned and scored" in read.words
    assert WEIGHTS in read.words


def test_results_are_stated_in_sentences(read: Reader) -> None:
    for sentence in (
        "beam against greedy",
        "beam is better than greedy: CIDEr +0.034 [0.021, 0.047], p = .001",
        "beam is worse than greedy: BLEU-1 −0.010 [−0.020, −0.001], p < .001",
        "beam and greedy do not differ significantly: METEOR +0.007 [−0.002, 0.016], p = .310",
        "For 2,314 words, the cell with the highest attention lies in the box in 71.2% of the cases; "
        "the best baseline reaches 55.2%",
        "expected calibration error (ECE) is 5.0%; on average the probabilities are overconfident",
        "The more confident half of the captions has a CIDEr of 0.731, all captions have 0.500",
        "(AURC) is 0.210, between 0.115 for the oracle and 0.440 for a random order",
        "7.2% of the named objects are hallucinated",
        "– of the objects in the images are named",
    ):
        assert sentence in read.words


def test_each_explanation_names_its_source(read: Reader) -> None:
    for source in (
        "Papineni 2002",
        "Lin 2004",
        "Denkowski 2014",
        "Vedantam 2015",
        "Efron 1979",
        "Zhang 2016",
        "Guo 2017",
        "Geifman 2017",
        "Rohrbach 2018",
        "Li 2016",
    ):
        assert f"{source})" in read.words
    assert sum(attributes.get("class") == "note" for attributes in read.all("p")) == len(SECTIONS)


def test_the_best_strategy_of_each_score_is_bold_and_baselines_never_are() -> None:
    report = evaluation_report(baselines={"constant": GREEDY, "constant_caption": "a dog runs", "human": GREEDY})
    html = render_page(report, DETAILS, [], "x")
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', html, re.DOTALL)
    beam, greedy, constant, human = (re.findall(r"<td.*?</td>", row, re.DOTALL) for row in rows[:4])
    assert [cell for row in (beam, greedy) for cell in re.findall("<strong>(.*?)</strong>", "".join(row))] == [
        "0.400", "0.300", "0.204", "0.450", "0.188", "0.500", "0.620",
    ]  # fmt: skip
    assert "<small>.471–.528</small>" in beam[-1]
    assert (
        "strong" not in "".join(constant + human)
        and '“<bdi lang="">a dog runs</bdi>”' in rows[2]
        and "“" not in rows[3]
    )


def test_examples_are_cards_by_kind_with_the_picture_inside(read: Reader) -> None:
    words = read.words[read.words.index("Example captions") :]
    places = [
        words.index(text)
        for text in ("Best captions", "2.310", "It is red .", "Worst captions", "two men", "Says nothing", "(no words)")
    ]
    assert places == sorted(places)
    (image,) = read.all("img")
    assert image["alt"] == "best.png, captioned: a red square"
    kind, _, data = str(image["src"]).partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (40, 30)
        red, green, blue = shown.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    assert red > 240 and green < 20 and blue < 20


def test_a_large_picture_is_made_smaller_and_a_transparent_one_stands_on_white() -> None:
    example = CaptionExample("a.png", "x", (), 1.0, Image.new("RGBA", (3000, 1500), (0, 0, 0, 0)), "best")
    (image,) = Reader(render_page(REPORT, DETAILS, [example], "x")).all("img")
    with Image.open(io.BytesIO(base64.b64decode(str(image["src"]).partition(",")[2]))) as shown:
        assert shown.size == (1200, 600)
        assert shown.getpixel((5, 5)) == (255, 255, 255)


def test_text_of_the_data_is_escaped_everywhere() -> None:
    report, details = REPORT.model_dump_json(), DETAILS.model_dump_json()
    report = report.replace("flickr8k", SCRIPT).replace('"beam":', f'"{SCRIPT}":').replace("a dog runs", SCRIPT)
    report = (
        report.replace('"ptb"', f'"{SCRIPT}"').replace("evaluated references", SCRIPT).replace('"test"', f'"{SCRIPT}"')
    )
    details = details.replace('"beam"', f'"{SCRIPT}"').replace("1 object", SCRIPT).replace("names what", SCRIPT)
    quotes = f'"><img src=x onerror=alert(1)>{SCRIPT}'
    example = CaptionExample(quotes, quotes, (quotes,), 1.0, Image.new("L", (4, 4)), quotes)
    html = render_page(
        EvaluationReport.model_validate_json(report), EvaluationDetails.model_validate_json(details), [example],
        f"</title>{SCRIPT}",
    )  # fmt: skip
    read = Reader(html)
    assert read.all("script") == []
    assert len(read.all("img")) == 1
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
    assert read.words.count(SCRIPT) > 10


def test_nothing_is_loaded_from_anywhere(html: str, read: Reader) -> None:
    assert "://" not in html
    assert "url(" not in html and "@import" not in html
    assert read.all("script", "iframe", "object", "embed") == []
    for attributes in read.all("img", "link", "a"):
        assert str(attributes.get("src") or attributes.get("href")).startswith(("data:", "#"))


def test_tables_and_charts_can_be_heard(read: Reader) -> None:
    tables = len(read.all("table"))
    assert tables == 7
    assert len(read.all("caption")) == tables
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in read.all("th"))
    charts = read.all("svg")
    assert len(charts) == 8
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "beam 0.500, 0.471 to 0.528; greedy 0.465; one caption for every image 0.465" in str(charts[0]["aria-label"])
    assert "300 words at 90%, 80% right" in str(charts[4]["aria-label"])
    assert "15% wrong at a coverage of 50%; 44% wrong at a coverage of 100%" in str(charts[5]["aria-label"])
    assert "260 captions at 95%, 90% right" in str(charts[6]["aria-label"])


def test_the_most_confident_captions_are_listed_at_every_quarter(html: str) -> None:
    section = html[html.index('id="confidence"') : html.index('id="hallucination"')]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', section)
    assert [row for row, _ in rows] == ["25.0%", "50.0%", "100.0%", "95.0%"]  # three of the curve, one of the bins
    assert re.findall(r">([^<>]+)<", rows[1][1]) == ["70.0%", "15.0%", "0.731"]


def test_a_captioner_without_a_confidence_has_no_section_of_it() -> None:
    read = Reader(render_page(evaluation_report(confidence=None), evaluation_details(confidence=None), EXAMPLES, "x"))
    assert read.sections == [name for name in SECTIONS if name != "confidence"]


NOTHING: dict[str, dict[str, Any]] = {
    "comparisons": {"comparisons": ()},
    "by_length": {"by_length": ()},
    "by_objects": {"by_objects": ()},
    "diversity": {"diversity": {}},
    "failures": {"failures": {}},
}


@pytest.mark.parametrize("part", NOTHING)
def test_an_absent_part_has_no_section_and_the_others_stay(part: str) -> None:
    read = Reader(render_page(REPORT, evaluation_details(**NOTHING[part]), EXAMPLES, "x"))
    assert read.sections == [name for name in SECTIONS if name != part]
    assert f"#{part}" not in [link["href"] for link in read.all("a")]


@pytest.mark.parametrize(("elsewhere", "shown"), [(None, False), (1e-7, False), (0.25, True)])
def test_attention_that_lies_on_no_cell_is_stated(elsewhere: float | None, shown: bool) -> None:
    assert REPORT.grounding is not None
    grounding = REPORT.grounding.model_copy(update={"elsewhere": elsewhere})
    html = render_page(REPORT.model_copy(update={"grounding": grounding}), DETAILS, EXAMPLES, "x")
    assert ("of the attention lies on no cell" in html) is shown


def test_captions_that_name_no_boxed_object_say_that_attention_is_not_measured() -> None:
    """Captions in another language than that of the boxes."""
    nothing = {"attention": None, "uniform": None, "centre": None, "shuffled": None}
    report = evaluation_report(grounding={"pointing": nothing, "mass": nothing})
    words = Reader(render_page(report, evaluation_details(grounding=None), [], "x")).words
    assert "Not measured: no caption has a word that names an object in a box" in words
    assert "Not measured" not in Reader(render_page(REPORT, DETAILS, EXAMPLES, "x")).words


def test_a_data_set_without_boxes_has_no_grounding_and_empty_captions_no_calibration() -> None:
    report = evaluation_report(grounding=None, calibration={"ece": None, "brier": None})
    details = evaluation_details(grounding=None, calibration=())
    read = Reader(render_page(report, details, EXAMPLES, "x"))
    assert read.sections == [name for name in SECTIONS if name not in ("grounding", "calibration")]


def test_the_scores_of_files_have_no_section_of_a_captioner() -> None:
    fields = ("dataset", "num_images", "tokenizer", "cider_document_frequencies", "system", "scores", "baselines")
    summary = ScoreSummary.model_validate({name: getattr(REPORT, name) for name in fields})
    read = Reader(render_page(summary, evaluation_details(grounding=None, calibration=()), [], "x"))
    assert not {"grounding", "calibration", "confidence", "hallucination", "examples"} & set(read.sections)
    assert "1,000 images of flickr8k were captioned" in read.words


def test_a_report_without_scores_is_a_page_with_its_title() -> None:
    empty = ScoreSummary(
        dataset="x", num_images=0, tokenizer="ptb", cider_document_frequencies="x", system="", scores={},
        baselines=Baselines(),
    )  # fmt: skip
    read = Reader(render_page(empty, EvaluationDetails(intervals={}), [], "Nothing yet"))
    assert read.sections == [] and read.all("nav", "table", "svg") == []
    assert read.words.startswith("Nothing yet")


def test_a_value_that_is_not_defined_is_a_dash() -> None:
    undefined = re.compile(r"(?<=:)-?\d+\.\d+(e-\d+)?")
    details = json.loads(
        undefined.sub("null", DETAILS.model_dump_json(include={"intervals", "comparisons", "grounding"}))
    )
    nothing = dict.fromkeys(("attention", "uniform", "centre", "shuffled"))
    report = evaluation_report(
        scores={"beam": GREEDY.model_copy(update={"meteor": None}), "greedy": GREEDY},
        grounding={"pointing": nothing, "mass": nothing},
        hallucination=dict.fromkeys(("chair_i", "chair_s", "object_recall")),
        calibration={"ece": 0.1, "brier": None},
    )
    html = render_page(report, evaluation_details(**details, calibration=()), [], "x")
    words = Reader(html).words
    assert "nan" not in words.lower() and "None" not in words
    assert "beam and greedy do not differ significantly: CIDEr – [–, –], p = –" in words
    beam = re.search(r'<tr><th scope="row">beam</th>(.*?)</tr>', html, re.DOTALL)
    assert beam and [Reader(cell).words for cell in re.findall(r"<td.*?</td>", beam[1], re.DOTALL)] == [
        "0.620", "0.390", "0.280", "0.188", "0.440", "–", "0.465",
    ]  # fmt: skip


def test_the_same_input_gives_the_same_bytes(html: str) -> None:
    assert render_page(REPORT, DETAILS, EXAMPLES, "Evaluation of a captioner") == html


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = bar_chart("x", [Bar("one", 0.5, "0.500"), Bar("two", 0.25, "0.250"), Bar("less", -0.1, "-0.100")])
    one, two, less = map(float, re.findall(r'<rect[^>]* width="([\d.]+)"', chart))
    assert one == pytest.approx(2 * two) and less == 0
    wide = float(re.findall(r'<rect[^>]* width="([\d.]+)"', bar_chart("x", [Bar("one", 0.5, "0.500")], top=1.0))[0])
    assert wide == pytest.approx(one / 2)


def test_a_dot_on_the_diagonal_has_no_gap() -> None:
    chart = reliability_diagram([ReliabilityPoint(0.5, 0.5, 10), ReliabilityPoint(0.8, 0.6, 10)])
    gaps = [(float(a), float(b)) for a, b in re.findall(r'class="gap"[^>]* y1="([\d.]+)"[^>]* y2="([\d.]+)"', chart)]
    assert [round(low - high) for low, high in gaps] == [0, 60]


@pytest.fixture(scope="module")
def browser_page(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """The page in Chromium, and what went wrong: errors, and requests for anything but the file."""
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: wrong.append(request.url) if request.url.startswith(("http", "ws")) else None
        )
        page.goto(path.as_uri())
        yield page, wrong
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_browser_shows_the_page_without_an_error_or_a_request(browser_page: tuple[Page, list[str]]) -> None:
    page, wrong = browser_page
    for name in SECTIONS:
        assert page.locator(f"section#{name} h2").is_visible()
    assert page.locator("#examples img").evaluate("image => image.complete && image.naturalWidth") == 40
    page.get_by_role("link", name="Grounding").click()
    assert page.evaluate("location.hash") == "#grounding"
    assert page.get_by_role("table", name="Scores of the evaluated captions").is_visible()
    assert page.get_by_role("rowheader", name="beam", exact=True).first.is_visible()
    assert wrong == []


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_captions_in_a_right_to_left_script_start_at_the_right(browser_page: tuple[Page, list[str]]) -> None:
    page, _ = browser_page
    examples = [
        CaptionExample("ar.jpg", "قطة على كرسي .", ("قطة بيضاء .", "كلب"), 1.0, None, "best"),
        CaptionExample("en.jpg", "a cat on a chair .", ("a white cat .", "a dog"), 1.0, None, "worst"),
    ]
    page.set_content(render_page(REPORT, DETAILS, examples, "Arabic"))
    for part in (".card .text", ".card ul"):
        starts = page.locator(part).evaluate_all("nodes => nodes.map(node => getComputedStyle(node).direction)")
        assert starts == ["rtl", "ltr"], part
    assert page.locator(".card .text").first.evaluate("node => node.matches(':lang(en)')") is False


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_the_page_fits_a_phone_and_follows_the_theme(browser_page: tuple[Page, list[str]]) -> None:
    page, _ = browser_page
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours.append(sum(map(int, re.findall(r"\d+", found))))
    assert colours[0] > 700 and colours[1] < 100
