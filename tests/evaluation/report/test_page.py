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
from wordgaze.evaluation.report.charts import Bar, Dot, bar_chart, reliability_diagram
from wordgaze.evaluation.report.page import Example, render_page

VOID = {"meta", "link", "img", "br", "hr", "line", "rect", "path", "circle"}
SCRIPT = "<script>alert(1)</script>"
SECTIONS = ["scores", "chart", "differences", "by_length", "by_objects", "grounding", "honesty", "failures", "examples"]

SCORES = {"bleu_1": 0.61, "bleu_4": 0.204, "meteor": 0.188, "cider": 0.4996}
LESS = {"bleu_1": 0.62, "bleu_4": 0.188, "meteor": 0.181, "cider": 0.4652}
REPORT: dict[str, Any] = {
    "dataset": "flickr8k",
    "split": "test",
    "images": 1000,
    "tokenizer": "ptb",
    "weights": "5f" * 32,
    "decoding": {"beam": SCORES, "greedy": LESS},
    "intervals": {"beam": {"cider": [0.471, 0.528]}},
    "differences": {
        "beam against greedy": {
            "cider": {"value": 0.0344, "low": 0.0211, "high": 0.0469, "p": 0.001},
            "bleu_1": {"value": -0.01, "low": -0.02, "high": -0.001, "p": 0.0004},
            "meteor": {"value": 0.007, "low": -0.002, "high": 0.016, "p": 0.31},
        }
    },
    "baselines": {"constant": {"caption": "a dog runs", **LESS}, "human": None},
    "by_length": {"11+ words": {"pictures": 210, **LESS}, "1-7 words": {"pictures": 790, **SCORES}},
    "by_objects": {"1 object": {"pictures": 1000, **SCORES}},
    "grounding": {
        "words": 2314, "pointing": 0.712, "pointing_uniform": 0.31, "pointing_centre": 0.552, "pointing_shuffled": 0.42,
        "mass": 0.48, "mass_uniform": 0.31, "intervals": {"pointing": [0.69, 0.73]},
    },
    "hallucination": {"chair_i": 0.072, "chair_s": 0.093, "object_recall": None},
    "calibration": {
        "ece": 0.05, "brier": 0.18,
        "bins": [{"confidence": 0.9, "accuracy": 0.8, "count": 300}, {"confidence": 0.4, "accuracy": 0.35, "count": 100}],
    },
    "diversity": {"beam": {"distinct_1": 0.04, "distinct_2": 0.11, "vocabulary": 310, "mean_length": 9.4, "novelty": 0.72}},
    "failures": {"names what is not there": 71, "repeats itself": 12},
}  # fmt: skip
EXAMPLES = [
    Example("worst.jpg", "two men", ("A cat .",), 0.0, None, "worst"),
    Example("lost.jpg", "", (), float("nan"), None, "says nothing"),
    Example(
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
    return render_page(REPORT, EXAMPLES, "How well it captions")


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def test_every_part_of_the_report_has_its_section_and_a_link_to_it(read: Reader) -> None:
    sections = list(map(str, read.sections))
    assert sections == [
        "scores",
        "chart",
        "differences",
        "by_length",
        "by_objects",
        "grounding",
        "honesty",
        "failures",
        "examples",
    ]
    assert [link["href"] for link in read.all("a")] == [f"#{name}" for name in sections]
    assert "1,000 pictures of the test split of flickr8k were captioned and scored" in read.words
    assert "5f" * 32 in read.words


def test_numbers_are_told_in_words(read: Reader) -> None:
    for sentence in (
        "beam is better than greedy: CIDEr +0.034 [0.021, 0.047], p = .001",
        "beam is worse than greedy: BLEU-1 −0.010 [−0.020, −0.001], p < .001",
        "beam and greedy cannot be told apart: METEOR +0.007 [−0.002, 0.016], p = .310",
        "Over 2,314 words, the highest weight falls into the right box for 71.2%; the strongest of the others reaches 55.2%",
        "off by 5.0% on average (ECE); on the whole it is too sure",
        "7.2% of the objects it names are not there",
        "– of the objects that are there are named",
    ):
        assert sentence in read.words


def test_each_explanation_names_its_source(read: Reader) -> None:
    for source in (
        "Papineni 2002",
        "Vedantam 2015",
        "Efron 1979",
        "Zhang 2016",
        "Guo 2017",
        "Rohrbach 2018",
        "Li 2016",
    ):
        assert f"{source})" in read.words
    assert sum(attributes.get("class") == "how" for attributes in read.all("p")) >= len(SECTIONS)


def test_the_best_strategy_of_each_score_is_bold_and_baselines_never_are(html: str) -> None:
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', html, re.DOTALL)
    beam, greedy, constant, human = (re.findall(r"<td.*?</td>", row, re.DOTALL) for row in rows[:4])
    assert [cell for row in (beam, greedy) for cell in re.findall("<strong>(.*?)</strong>", "".join(row))] == [
        "0.204", "0.188", "0.500", "0.620",
    ]  # fmt: skip
    assert "<small>.471–.528</small>" in beam[3]
    assert "strong" not in "".join(constant) and "“a dog runs”" in rows[2]
    assert [Reader(cell).words for cell in human] == ["–"] * 4


def test_parts_are_in_the_order_of_their_numbers_not_of_their_letters(read: Reader) -> None:
    assert read.words.index("1-7 words") < read.words.index("11+ words")


def test_examples_are_cards_by_kind_with_the_picture_inside(read: Reader) -> None:
    words = read.words[read.words.index("Captions to look at") :]
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
    example = Example("a.png", "x", (), 1.0, Image.new("RGBA", (3000, 1500), (0, 0, 0, 0)), "best")
    (image,) = Reader(render_page({}, [example], "x")).all("img")
    with Image.open(io.BytesIO(base64.b64decode(str(image["src"]).partition(",")[2]))) as shown:
        assert shown.size == (1200, 600)
        assert shown.getpixel((5, 5)) == (255, 255, 255)


def test_text_of_the_data_is_escaped_everywhere() -> None:
    report = json.loads(json.dumps(REPORT).replace("flickr8k", SCRIPT).replace("beam", SCRIPT).replace("a dog runs", SCRIPT)
                        .replace("1 object", SCRIPT).replace("names what", SCRIPT).replace('"ptb"', f'"{SCRIPT}"'))  # fmt: skip
    report["decoding"][SCRIPT] = {**SCORES, SCRIPT: 0.5}
    quotes = f'"><img src=x onerror=alert(1)>{SCRIPT}'
    example = Example(quotes, quotes, (quotes,), 1.0, Image.new("L", (4, 4)), quotes)
    html = render_page(report, [example], f"</title>{SCRIPT}")
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
    assert tables == 5
    assert len(read.all("caption")) == tables
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in read.all("th"))
    charts = read.all("svg")
    assert len(charts) == 6
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "beam 0.500, 0.471 to 0.528; greedy 0.465; one caption for every picture 0.465; people" in str(
        charts[0]["aria-label"]
    )
    assert "300 words at 90%, of them 80% right" in str(charts[4]["aria-label"])


@pytest.mark.parametrize("part", ["differences", "by_length", "by_objects", "grounding", "failures"])
@pytest.mark.parametrize("absent", [{}, None])
def test_an_absent_part_has_no_section_and_the_others_stay(part: str, absent: Any) -> None:
    read = Reader(render_page({**REPORT, part: absent}, EXAMPLES, "x"))
    assert read.sections == [name for name in SECTIONS if name != part]
    assert f"#{part}" not in [link["href"] for link in read.all("a")]


def test_the_honest_parts_come_and_go_one_by_one() -> None:
    none = {**REPORT, "calibration": None, "hallucination": None, "diversity": None}
    assert "honesty" not in Reader(render_page(none, [], "x")).sections
    for part in ("calibration", "hallucination", "diversity"):
        ids = {
            attributes.get("id")
            for _, attributes in Reader(render_page({**none, part: REPORT[part]}, [], "x")).elements
        }
        assert ids & {"honesty", "calibration", "hallucination", "diversity"} == {"honesty", part}


def test_an_empty_report_is_a_page_with_its_title() -> None:
    read = Reader(render_page({}, [], "Nothing yet"))
    assert read.sections == [] and read.all("nav", "table", "svg") == []
    assert read.words.startswith("Nothing yet")


def test_what_is_not_known_is_a_dash(html: str) -> None:
    unknown = json.loads(json.dumps(REPORT), parse_float=lambda _: float("nan"))
    for values in (unknown, json.loads(re.sub(r"-?\d+\.\d+(e-\d+)?", "null", json.dumps(REPORT)))):
        values["calibration"]["bins"] = []
        words = Reader(render_page(values, [], "x")).words
        assert "nan" not in words.lower() and "None" not in words
        assert "beam and greedy cannot be told apart: CIDEr – [–, –], p = –" in words


def test_the_same_input_gives_the_same_bytes(html: str) -> None:
    assert render_page(REPORT, EXAMPLES, "How well it captions") == html


def test_a_bar_is_as_long_as_its_value() -> None:
    chart = bar_chart("x", [Bar("one", 0.5, "0.500"), Bar("two", 0.25, "0.250"), Bar("less", -0.1, "-0.100")])
    one, two, less = map(float, re.findall(r'<rect[^>]* width="([\d.]+)"', chart))
    assert one == pytest.approx(2 * two) and less == 0
    wide = float(re.findall(r'<rect[^>]* width="([\d.]+)"', bar_chart("x", [Bar("one", 0.5, "0.500")], top=1.0))[0])
    assert wide == pytest.approx(one / 2)


def test_a_dot_on_the_diagonal_has_no_gap() -> None:
    chart = reliability_diagram([Dot(0.5, 0.5, 10), Dot(0.8, 0.6, 10)])
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
    page.get_by_role("link", name="Where it looks").click()
    assert page.evaluate("location.hash") == "#grounding"
    assert page.get_by_role("table", name="Scores of this model").is_visible()
    assert page.get_by_role("rowheader", name="beam", exact=True).first.is_visible()
    assert wrong == []


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
