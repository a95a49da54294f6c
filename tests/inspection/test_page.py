"""The page: complete, self-contained, readable on a phone and in the dark, in every script."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser import CHROMIUM, NO_CHROMIUM
from tests.inspection.folders import params_of, photograph, sentences, write_captions
from wordgaze.inspection.charts import histogram
from wordgaze.inspection.check import check_dataset

ARABIC = "كلب يركض على الشاطئ"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a folder with something to say in every section."""
    folder = tmp_path_factory.mktemp("page")
    data, rows = folder / "my photos", []
    data.mkdir()
    for number in range(20):
        photograph(number, (300, 200 + 10 * number)).save(data / f"{number}.jpg")
        rows += [(f"{number}.jpg", text) for text in (*sentences(number), ARABIC if number == 3 else "No text.")]
    (data / "copy.jpg").write_bytes((data / "5.jpg").read_bytes())
    photograph(6, (300, 260)).resize((150, 130)).save(data / "small.jpg")
    (data / "broken.jpg").write_bytes(b"nothing")
    rows += [(name, "<tag> another & <x>one</x>") for name in ("copy.jpg", "small.jpg", "broken.jpg")]
    write_captions(data / "captions.csv", rows)
    check_dataset(params_of(data, dataset={"max_faulty": 0.1}), folder / "cache", folder / "page.html")
    return folder / "page.html"


class _Outside(HTMLParser):
    """Collects the addresses that a page refers to, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "base"):
            self.found.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "style") and not (value or "").startswith(("#", "data:")):
                self.found.append(str(value))
            if name.startswith("on"):
                self.found.append(name)


def test_the_page_refers_to_nothing_outside(page_file: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    parser = _Outside()
    parser.feed(html)
    assert parser.found == []
    assert "url(" not in html
    assert len(html) < 2_000_000


def test_captions_are_shown_as_text_in_their_direction(page_file: Path) -> None:
    html = page_file.read_text(encoding="utf-8")
    assert f'<li dir="auto">{ARABIC}</li>' in html
    assert "&lt;tag&gt; another &amp; &lt;x&gt;one&lt;/x&gt;" in html


def test_a_histogram_has_its_values_as_text() -> None:
    drawn = str(histogram("Words", [("1", 0), ("2", 1200), ("<3", 7)], "words"))
    assert 'aria-label="Words: 2: 1200; &lt;3: 7"' in drawn
    assert "<title>2: 1,200</title>" in drawn
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', drawn)]
    assert heights[0] == 0
    assert heights[1] == max(heights)


def test_a_histogram_of_nothing_is_drawn() -> None:
    assert "<svg" in histogram("Words", [], "words")


@pytest.fixture(scope="module")
def browser_page(page_file: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page in Chromium, and what went wrong: errors, and requests for anything but the file."""
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: wrong.append(request.url) if request.url.startswith(("http", "ws")) else None
        )
        page.goto(page_file.as_uri())
        yield page, wrong
        browser.close()


SECTIONS = ("advice", "left-out", "pictures", "captions", "words", "splits", "duplicates", "sheet")


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_browser_shows_every_section_and_every_image(browser_page: tuple[Page, list[str]]) -> None:
    page, wrong = browser_page
    for name in SECTIONS:
        assert page.locator(f"section#{name} h2").is_visible()
    page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")
    assert page.locator("#duplicates .pair").count() >= 2
    assert page.locator("#sheet .card").count() >= 22
    page.get_by_role("link", name="Duplicates").click()
    assert page.evaluate("location.hash") == "#duplicates"
    caption = page.locator("#sheet li", has_text=ARABIC).first
    assert caption.evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert wrong == []


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_fits_every_screen_and_follows_the_theme(browser_page: tuple[Page, list[str]], width: int) -> None:
    page, _ = browser_page
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    brightness = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness.append(sum(map(int, re.findall(r"\d+", colour))))
    assert brightness[0] > 700
    assert brightness[1] < 100


def test_the_values_are_plain_json(tmp_path: Path) -> None:
    from tests.inspection.folders import clean_folder

    data = clean_folder(tmp_path / "data", 12)
    check_dataset(params_of(data), tmp_path / "cache", values=tmp_path / "values.json")
    values = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))
    assert values["captions"]["lengths"] == {"7": 12, "8": 12}
    assert values["splits"]["given"] == 0
    assert values["advice"] == []
