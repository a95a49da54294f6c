"""The page as a person uses it, in a real browser, and as a program asks it."""

import csv
import io
import json
import re
import socket
import struct
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.app.conftest import ARABIC, SCRIPT, Served
from tests.browser import CHROMIUM, NO_CHROMIUM
from wordgaze.app.controls import STRATEGIES
from wordgaze.app.corrections import Corrections

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
DEFAULT_STRATEGIES = ["beam", "greedy"]
PIXELS = "canvas => canvas.toDataURL()"
CONTROLS = "button, [role=button], [role=tab], a[href], input:not([type=file]), select, textarea"
NAMELESS = """
controls => controls.filter(each => each.checkVisibility() && ![
    each.innerText, each.ariaLabel, each.title, each.placeholder, each.labels && each.labels[0] && each.labels[0].innerText,
    each.querySelector("img") && each.querySelector("img").alt,
].some(name => (name || "").trim())).map(each => each.outerHTML)
"""
"""The controls that a screen reader could not name."""


def give(page: Page, path: Path) -> None:
    """Uploads a picture, in place of the one that is there."""
    if (clear := page.locator("#picture button[aria-label=Clear]")).count():
        clear.first.click()
    page.locator("#picture input[type=file]").first.set_input_files(path)


def captioned(page: Page, path: Path, rows: int = len(DEFAULT_STRATEGIES)) -> None:
    """Uploads a picture and waits for all its captions."""
    give(page, path)
    expect(page.locator(".wg-row")).to_have_count(rows)
    expect(page.locator(".wg-waiting")).to_have_count(0)


def open_settings(page: Page) -> None:
    """Opens the settings. Gradio gives them their values a frame after they are drawn, over what was typed before."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Sampling seed").wait_for()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def batch(page: Page, paths: Sequence[Path]) -> None:
    """Gives files to the second tab, in place of those that are there, and starts."""
    page.get_by_role("tab", name="Batch").click()
    if (clear := page.get_by_role("button", name="Clear")).count():
        clear.first.click()
    page.locator("#files input[type=file]").first.set_input_files(paths)
    expect(page.locator("#files").get_by_role("link").first).to_have_attribute("href", re.compile(paths[0].name + "$"))
    page.get_by_role("button", name="Caption all").click()


def zipped(path: Path, entries: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of one bit a pixel, with as much of its rows as is given."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bad_pictures() -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes, and what is reported of them."""
    yield "words.png", b"these are words", "is not a JPEG"
    yield "empty.png", b"", "is empty"
    yield "large.png", png(10_000, 10_000, bytes(10_000 * 1251)), "pixels; make it smaller"
    yield "bomb.png", png(60_000, 60_000, b""), "pixels; make it smaller"
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "is an SVG"
    yield "cut.png", png(64, 64, b"")[:-20], "is broken"
    yield "<b>name.png", b"words", "<b>name.png"


def odd_pictures() -> Iterator[tuple[str, tuple[int, int], Callable[[Path], None]]]:
    """Name, size on the page, and what writes the picture."""
    slope = Image.linear_gradient("L").resize((60, 40))
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "moving.gif", (60, 40), lambda path: slope.save(path, save_all=True, append_images=[slope.rotate(90)])
    yield "print.jpg", (60, 40), slope.convert("CMYK").save
    yield "glass.png", (60, 40), slope.convert("LA").save
    yield "turned.jpg", (40, 60), lambda path: slope.save(path, exif=turned)
    yield "dot.png", (1, 1), slope.resize((1, 1)).save
    yield "long.png", (1280, 1), slope.resize((10_000, 3)).save


def bad_zips(folder: Path) -> Iterator[tuple[str, str]]:
    """Name, and what is reported of it."""
    zipped(folder / "out.zip", {"../out.png": b"x"})
    yield "out.zip", "out"
    zipped(folder / "nested.zip", {"in.zip": (folder / "out.zip").read_bytes()})
    yield "nested.zip", "another archive"
    zipped(folder / "zeros.zip", {"zeros.png": bytes(80 * 2**20)})
    yield "zeros.zip", "zeros"
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(folder / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    yield "link.zip", "link"
    (folder / "no.zip").write_bytes(b"no zip at all")
    yield "no.zip", "is not a zip"


def sentence(page: Page) -> str:
    """The caption on the stage."""
    return page.locator(".wg-text").input_value()


def choose(page: Page, name: str) -> None:
    """Chooses a captioner."""
    page.get_by_label("Captioner", exact=True).click()
    page.get_by_role("option", name=name, exact=True).click()


def setting(page: Page, name: str) -> Locator:
    """The number beside a slider."""
    return page.get_by_label(f"number input for {name}")


def heads(page: Page) -> list[str]:
    """The strategies of the captions, as they are headed."""
    return [head.split("\n")[0] for head in page.locator(".wg-answers h3").all_inner_texts()]


def test_an_upload_is_captioned_by_two_strategies_and_by_those_that_are_chosen(page: Page, photo: Path) -> None:
    captioned(page, photo)
    assert heads(page) == DEFAULT_STRATEGIES
    open_settings(page)
    for name in STRATEGIES:
        page.get_by_label(name, exact=True).check()
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-row")).to_have_count(len(STRATEGIES))
    expect(page.locator(".wg-waiting")).to_have_count(0)
    assert heads(page) == list(STRATEGIES)
    times = [head.split("\n")[1] for head in page.locator(".wg-answers h3").all_inner_texts()]
    assert all(re.fullmatch(r"\d+ ms|\d+\.\d s", time) for time in times)
    for row in page.locator(".wg-row").all():
        assert re.search(r"(\d\s%|\d·10⁻[⁰¹²³⁴-⁹]+)$", row.inner_text())
        shades = row.locator(".wg-sentence span").evaluate_all(
            "all => all.map(each => +each.style.getPropertyValue('--p'))"
        )
        assert all(0 < shade <= 1 for shade in shades)
    assert page.locator(".wg-canvas").evaluate("canvas => [canvas.width, canvas.height]") == [96, 64]


def test_pointing_at_a_word_and_the_arrow_keys_move_the_light(page: Page, photo: Path) -> None:
    captioned(page, photo)
    canvas, words = page.locator(".wg-canvas"), page.locator(".wg-word")
    plain = canvas.evaluate(PIXELS)
    words.nth(0).hover()
    lit = canvas.evaluate(PIXELS)
    assert lit != plain
    expect(page.locator(".wg-status")).to_contain_text("1 of ")
    words.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    expect(words.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".wg-status")).to_contain_text("2 of ")
    page.keyboard.press("End")
    expect(page.locator(".wg-status")).to_contain_text("The caption ends here")
    assert canvas.evaluate(PIXELS) == plain
    page.locator(".wg-grid").click()
    assert canvas.evaluate(PIXELS) != plain


def test_the_sentence_plays_as_a_film(page: Page, photo: Path) -> None:
    captioned(page, photo)
    page.get_by_role("button", name="Play").click()
    for number in (1, 2):
        expect(page.locator(".wg-status")).to_contain_text(f"{number} of ")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_a_region_lights_the_words_that_attended_there(page: Page, photo: Path) -> None:
    captioned(page, photo)
    canvas, message = page.locator(".wg-canvas"), page.locator(".wg-status")
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    expect(message).to_contain_text(re.compile("Words with attention here|No word has more attention here"))
    dragged = message.inner_text()
    canvas.focus()
    seen = set()
    for key in ("ArrowUp", "ArrowLeft", "ArrowUp", "ArrowRight"):  # once round the grid of 2 by 2
        page.keyboard.press(key)
        seen.add(message.inner_text())
        listed = re.findall(r"“(.+?)”", message.inner_text())
        lit = page.locator(".wg-lit span").all_inner_texts()
        assert set(listed) <= set(lit) and bool(listed) == bool(lit)
    assert len(seen) > 1 and any("Words with attention here" in each for each in seen | {dragged})
    page.keyboard.press("Escape")
    expect(page.locator(".wg-lit")).to_have_count(0)


def test_another_word_makes_another_caption(page: Page, photo: Path) -> None:
    captioned(page, photo)
    before = sentence(page)
    page.locator(".wg-word").nth(1).click()
    other = page.locator(".wg-alternative:not([aria-current])").first
    word = other.locator("span").inner_text()
    expect(page.locator(".wg-alternative")).to_have_count(5)
    other.click()
    expect(page.locator(".wg-answers h3", has_text="your word")).to_be_visible()
    after = sentence(page).split()
    assert after[:2] == [before.split()[0], word]
    expect(page.locator(".wg-status")).to_be_empty()  # it told of a word of the caption before
    expect(page.locator(".wg-word[aria-pressed=true]")).to_have_count(0)


def test_another_caption_is_put_on_the_stage(page: Page, photo: Path) -> None:
    captioned(page, photo)
    before = sentence(page)
    for row in page.locator(".wg-row").all():
        if (text := " ".join(row.locator(".wg-sentence span").all_inner_texts())) not in (before, "(no words)"):
            break
    row.click()
    expect(page.locator(".wg-text")).to_have_value(text)
    expect(row).to_have_attribute("aria-pressed", "true")


def test_attention_is_taken_home_as_film_strip_and_numbers(page: Page, photo: Path) -> None:
    captioned(page, photo)
    files = {}
    for name in ("GIF", "PNG", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        files[name] = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == f"attention.{name.lower()}"
    with Image.open(io.BytesIO(files["GIF"])) as film:
        assert film.format == "GIF"
        assert film.n_frames > 2
    with Image.open(io.BytesIO(files["PNG"])) as strip:
        assert strip.format == "PNG"
    story = json.loads(files["JSON"])
    assert story["caption"] == sentence(page)
    assert len(story["words"][0]["weights"]) == story["grid"][0]


def test_a_correction_is_kept_and_exported(page: Page, photo: Path, served: Served, tmp_path: Path) -> None:
    captioned(page, photo)
    generated = sentence(page)
    page.locator(".wg-text").fill("   ")
    page.get_by_role("button", name="Save correction").click()
    expect(page.locator(".wg-status")).to_contain_text("does not contain a word")
    page.locator(".wg-text").fill("a <b>slope</b> in grey")
    page.get_by_role("button", name="Save correction").click()
    expect(page.locator(".wg-status")).to_contain_text("1 correction kept")
    corrections = Corrections(served.folder / "corrections.sqlite")
    [kept] = corrections.all()
    assert (kept.picture, kept.suggested, kept.accepted, kept.model) == (
        photo.name,
        generated,
        "a <b>slope</b> in grey",
        "one",
    )
    corrections.export(tmp_path / "export")
    [row] = csv.DictReader((tmp_path / "export" / "captions.csv").read_text(encoding="utf-8").splitlines())
    assert row["caption"] == kept.accepted
    assert (tmp_path / "export" / row["image"]).read_bytes() == photo.read_bytes()


def test_settings_captioners_and_words_that_are_html(page: Page, photo: Path) -> None:
    expect(page.locator("#about")).to_contain_text("one")
    open_settings(page)
    page.get_by_label("neighbours", exact=True).check()
    choose(page, "<u>two")  # which leaves alone what a person has checked
    expect(page.locator("#about")).to_contain_text("<u>two")
    page.get_by_label("Required words").fill(SCRIPT)
    captioned(page, photo)  # it has no neighbours
    assert SCRIPT in sentence(page)
    expect(page.locator(".wg-word", has_text=SCRIPT).first).to_be_visible()
    for row in page.locator(".wg-row").all():
        expect(row).to_contain_text(SCRIPT)
    page.get_by_label("one", exact=True).check()
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-problem")).to_contain_text(SCRIPT)  # a word that only one of them knows
    expect(page.locator(".wg-row")).to_have_count(2)
    page.get_by_label("Required words").fill("")
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-row")).to_have_count(5)
    expect(page.locator(".wg-answers h3", has_text="<u>two")).to_have_count(2)
    expect(page.locator(".wg-answers h3", has_text="neighbours")).to_have_count(1)
    expect(page.locator(".wg-problem")).to_be_hidden()


def test_an_error_leaves_no_caption_and_no_status_of_before(page: Page, photo: Path) -> None:
    captioned(page, photo)
    page.locator(".wg-word").first.click()
    expect(page.locator(".wg-status")).to_contain_text("1 of ")
    open_settings(page)
    page.get_by_label("Required words").fill("zebra")
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-problem")).to_contain_text("Required words: 'zebra' is not in the vocabulary")
    expect(page.locator(".wg-status")).to_be_empty()
    expect(page.locator(".wg-canvas")).to_be_visible()  # the picture is still the one to be captioned
    for gone in (".wg-words", ".wg-tools", ".wg-alternatives", ".wg-correct", ".wg-captions", ".wg-invite"):
        expect(page.locator(gone)).to_be_hidden()
    page.get_by_label("Required words").fill("")
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-row")).to_have_count(2)
    expect(page.locator(".wg-problem")).to_be_hidden()


def test_new_settings_put_a_new_caption_on_the_stage(page: Page, photo: Path) -> None:
    captioned(page, photo)
    before = sentence(page)
    open_settings(page)
    page.get_by_label("Banned words").fill(before.split()[0])
    page.get_by_label("Sampling seed").scroll_into_view_if_needed()  # the last setting, below the window
    for near in (page.get_by_role("button", name="Caption again"), page.locator(".wg-words")):
        expect(near).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-text")).not_to_have_value(re.compile(f"^$|{before.split()[0]}"))


def test_a_captioner_that_loads_has_no_captions_of_the_one_before(page: Page, photo: Path, served: Served) -> None:
    captioned(page, photo)
    choose(page, "broken")
    expect(page.locator("#about")).to_contain_text("Loading broken …")
    expect(page.locator(".wg-status")).to_have_text("Loading broken …")
    expect(page.locator(".wg-canvas")).to_be_visible()
    for gone in (".wg-words", ".wg-sure", ".wg-row"):
        expect(page.locator(gone)).to_be_hidden()
    (served.folder / "loaded").touch()
    expect(page.locator("#about")).to_contain_text("holds a broken captioner")
    expect(page.locator(".wg-problem")).to_contain_text("holds a broken captioner")
    expect(page.locator(".wg-row")).to_have_count(0)
    choose(page, "one")
    expect(page.locator(".wg-row")).to_have_count(2)
    expect(page.locator(".wg-problem")).to_be_hidden()
    expect(page.locator("#about")).not_to_contain_text("broken")


def test_a_picture_unlike_those_of_the_training_is_warned_of(page: Page, photo: Path) -> None:
    choose(page, "sure")
    open_settings(page)
    expect(setting(page, "Max words")).to_have_value("7")  # its own
    setting(page, "Max words").fill("6")
    captioned(page, photo, 3)
    expect(page.locator(".wg-row small")).to_have_text(["unfamiliar, 62 %", "unfamiliar, 31 %", "unfamiliar, 62 %"])
    expect(page.locator(".wg-unlike")).to_have_text(
        "This picture is unlike those that sure was trained on. The caption and its confidence may be wrong."
    )
    expect(page.locator(".wg-sure")).to_have_text("Its confidence is 62 %.")
    batch(page, [photo])
    expect(page.locator("#table [role=status]")).to_have_text(
        "1 picture captioned, 1 unlike the pictures of the captioner's training."
    )
    expect(page.locator("#table tbody td").nth(3)).to_have_text("unfamiliar, 62 %")


def test_captions_say_how_sure_they_are_and_unsure_ones_are_withheld(page: Page, photo: Path) -> None:
    choose(page, "sure")
    open_settings(page)
    expect(setting(page, "Max words")).to_have_value("7")  # its own: on a busy machine not at once
    captioned(page, photo, 3)
    expect(page.locator(".wg-row small")).to_have_text(["62 % sure", "unsure, 31 %", "62 % sure"])
    expect(page.locator(".wg-sure")).to_have_text("The captioner is sure of this caption: 62 %.")
    setting(page, "Minimum confidence").fill("0.7")
    page.get_by_role("button", name="Caption again").click()
    expect(page.locator(".wg-sentence", has_text=re.compile("^unsure$"))).to_have_count(3)
    expect(page.locator(".wg-sure")).to_have_text(
        "The captioner is unsure of this caption: 62 %, less than the minimum confidence of 70 %."
    )
    batch(page, [photo])
    expect(page.locator("#table [role=status]")).to_have_text("1 picture captioned, 1 of them unsure.")
    expect(page.locator("#table tbody td")).to_have_text(["", photo.name, "unsure", "62 % sure", re.compile("%")])


def test_why_a_caption_has_a_name_is_shown(page: Page, photo: Path) -> None:
    captioned(page, photo)
    expect(page.locator(".wg-naming")).to_be_hidden()
    choose(page, "sure")
    expect(page.locator(".wg-naming")).to_have_text("Naming cat: <i>seen")


def test_a_captioner_answers_with_its_own_settings_but_for_those_that_were_changed(page: Page, photo: Path) -> None:
    captioned(page, photo)
    open_settings(page)
    expect(page.get_by_label("Name objects")).not_to_be_checked()
    setting(page, "Max words").fill("3")
    expect(page.get_by_label("range slider for Max words")).to_have_value("3")  # on a busy machine not at once
    choose(page, "sure")
    expect(page.locator(".wg-row")).to_have_count(3)
    expect(page.locator(".wg-waiting")).to_have_count(0)
    assert heads(page) == ["mbr", "greedy"]
    for name, value in (("Number of beams", "4"), ("Captions per strategy", "2"), ("Max words", "3")):
        expect(setting(page, name)).to_have_value(value)
    expect(page.get_by_label("Name objects")).to_be_checked()
    assert len(sentence(page).split()) <= 3
    choose(page, "one")
    expect(setting(page, "Number of beams")).to_have_value("5")
    expect(page.locator(".wg-row")).to_have_count(2)
    assert heads(page) == DEFAULT_STRATEGIES


def test_an_example_is_captioned_and_its_source_is_named(page: Page) -> None:
    examples = page.locator("#examples").get_by_role("button")
    expect(examples).to_have_count(6)
    names = [str(button.get_attribute("title")) for button in examples.all()]
    assert names[0] == "An animal: a bear"
    links = page.locator("#examples a")
    expect(links).to_have_count(7)
    assert [str(link.get_attribute("href")).split("/")[2].split(".", 1)[1] for link in links.all()[:6]] == [
        "staticflickr.com"
    ] * 6
    expect(links.last).to_have_attribute("href", "https://creativecommons.org/licenses/by/2.0/")
    examples.nth(1).click()
    expect(page.locator(".wg-row")).to_have_count(2)
    expect(page.locator(".wg-reference")).to_have_text("Reference A woman posing for the camera standing on skis")
    assert page.locator(".wg-canvas").evaluate("canvas => [canvas.width, canvas.height]") == [480, 319]


def test_on_a_phone_the_page_scrolls_to_the_caption(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".wg-figure")).to_be_hidden()  # the picker says what to do
    chooser = page.locator("#captioner").evaluate("node => [node.parentElement.clientWidth, node.clientWidth]")
    assert abs(chooser[0] - chooser[1]) < 8  # nothing stands beside it
    page.locator("#examples").get_by_role("button").first.click()
    expect(page.locator(".wg-words")).to_be_in_viewport(ratio=1)
    page.locator(".wg-row").last.click()
    expect(page.locator(".wg-words")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_control_has_a_name(page: Page, photo: Path) -> None:
    open_settings(page)
    captioned(page, photo)
    page.locator(".wg-word").first.click()
    assert page.locator(CONTROLS).evaluate_all(NAMELESS) == []
    page.get_by_role("tab", name="Batch").click()
    assert page.locator(CONTROLS).evaluate_all(NAMELESS) == []


def test_the_address_for_programs_is_that_of_the_page(page: Page, served: Served) -> None:
    page.get_by_text("Use it from a program").click()
    text = page.locator(".wg-api pre").inner_text()
    assert f'Client("{served.address}")' in text
    assert f"PAGE={served.address}/gradio_api\n" in text
    assert "7860" not in text.replace(served.address, "")


def test_a_picture_that_cannot_be_used_is_reported_in_a_sentence(page: Page, served: Served, tmp_path: Path) -> None:
    for name, data, message in bad_pictures():
        (tmp_path / name).write_bytes(data)
        give(page, tmp_path / name)
        expect(page.locator(".wg-problem")).to_contain_text(
            message, timeout=120_000
        )  # a heavy one is decoded for seconds
        expect(page.locator(".wg-problem")).to_contain_text(name)
        expect(page.locator(".wg-row")).to_have_count(0)
        if name == "words.png":  # the browser's own sign of a broken picture is not shown
            expect(page.locator("#picture img")).to_be_hidden()
    (tmp_path / "notes.txt").write_text("no picture")
    give(page, tmp_path / "notes.txt")
    expect(page.get_by_test_id("toast-text")).to_have_text("notes.txt is not a picture; choose an image file.")


def test_an_odd_picture_is_captioned(page: Page, tmp_path: Path) -> None:
    for name, size, save in odd_pictures():
        save(tmp_path / name)
        captioned(page, tmp_path / name)
        expect(page.locator(".wg-canvas")).to_have_js_property("width", size[0])
        expect(page.locator(".wg-canvas")).to_have_js_property("height", size[1])


def test_a_zip_is_captioned_into_a_table_and_files(page: Page, photo: Path, tmp_path: Path) -> None:
    data = photo.read_bytes()
    entries = {"a.png": data, "deep/<i>b.png": data, "broken.png": b"no picture", "notes.txt": b"left out"}
    zipped(tmp_path / "some.zip", entries)
    batch(page, [tmp_path / "some.zip"])
    expect(page.locator("#table [role=status]")).to_have_text(
        "2 pictures captioned, 1 could not be opened. Left out: notes.txt."
    )
    rows = [row.locator("td").all_inner_texts() for row in page.locator("#table tbody tr").all()]
    assert [row[1] for row in rows] == ["a.png", "deep/<i>b.png", "broken.png"]
    assert rows[0][2] and rows[0][2] == rows[1][2]
    assert "broken.png: is not a JPEG" in rows[2][2]
    assert page.locator("#table tbody img").count() == 2
    tables = {}
    for name in ("CSV", "JSON lines", "Parquet"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        tables[name] = Path(download.value.path())
    message = list(csv.DictReader(tables["CSV"].read_text(encoding="utf-8").splitlines()))
    assert [row["caption"] for row in message] == [rows[0][2], rows[1][2], ""]
    lines = [json.loads(line) for line in tables["JSON lines"].read_text(encoding="utf-8").splitlines()]
    assert [line["name"] for line in lines] == [row[1] for row in rows]
    assert pq.read_table(tables["Parquet"]).to_pylist() == lines


def test_a_zip_that_is_not_safe_is_reported_in_a_sentence(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Batch").click()
    page.get_by_role("button", name="Caption all").click()
    expect(page.locator("#table [role=status]")).to_have_text(
        "there are no pictures; choose some, a folder or a zip first"
    )
    for name, message in bad_zips(tmp_path):
        batch(page, [tmp_path / name])
        expect(page.locator("#table [role=status]")).to_contain_text(name)
        expect(page.locator("#table [role=status]")).to_contain_text(re.compile(message))
        expect(page.locator("#table tbody tr")).to_have_count(0)


def test_a_batch_is_cancelled(page: Page, photo: Path, tmp_path: Path) -> None:
    zipped(tmp_path / "many.zip", {f"{i}.png": photo.read_bytes() for i in range(3000)})
    batch(page, [tmp_path / "many.zip"])
    page.locator("#table tbody tr").first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#table [role=status]")).to_contain_text(re.compile(r"Cancelled after \d+ of 3000"))


def test_programs_ask_for_captions_attention_and_another_ending(served: Served, photo: Path) -> None:
    picture = served.upload(photo)
    status, answers = served.ask("caption", picture, "one", ["beam", "nucleus 0.9"], {"num_beams": 3}, 0)
    assert (status, [answer["strategy"] for answer in answers]) == (200, ["beam", "nucleus 0.9"])
    status, story = served.ask("attention", picture, "a dog runs", "")
    assert (status, [word["text"] for word in story["words"]]) == (200, ["a", "dog", "runs"])
    status, generated = served.ask("continue_caption", picture, "a cat", "", {}, 0)
    assert (status, generated["caption"][:5]) == (200, "a cat")
    assert served.ask("caption", picture, None, None, None, None)[1][0]["strategy"] == "beam"
    assert served.ask("continue_caption", picture, "a cat", None, None, None)[0] == 200
    for endpoint, values, message in (
        ("caption", ("", ["beam"], "num_beams", 0), "give an object such as"),
        ("caption", ("", "beam", {}, 0), "give a list of names"),
        ("caption", ("", ["beam"], {}, "x"), "give an integer"),
        ("caption", ("", ["nucleus 0.9"], {"num_return_sequences": 10_000}, 0), "cost more than a request may"),
        ("attention", ("a dog " * 300, ""), "more than the 100 allowed"),
        ("attention", (None, ""), "is not a text"),
        ("continue_caption", ("a", "", {"num_beams": 200, "max_new_tokens": 200}, 0), "cost more than"),
    ):
        status, answer = served.ask(endpoint, picture, *values)
        assert status != 200
        assert message in str(answer)
    assert "'zebra'" in str(served.ask("attention", picture, "a zebra", "")[1])
    for path in (str(served.folder / "server.log"), str(photo), "/etc/passwd", f"{picture['path']}/../../../x"):
        for mark in ({}, {"meta": {"_type": "gradio.FileData"}}):
            assert served.ask("caption", {"path": path, **mark}, "", ["beam"], {}, 0)[0] != 200


@pytest.mark.parametrize("path", ["upload", "run/caption", "queue/join"])
def test_one_who_leaves_before_all_is_sent_is_no_error(served: Served, path: str) -> None:
    assert urllib.request.urlopen(f"{served.address}/config", timeout=30).status == 200
    while "stop it with" not in served.log:
        time.sleep(0.1)
    logged, (host, port) = len(served.log), served.address.removeprefix("http://").split(":")
    kind = "multipart/form-data; boundary=x" if path == "upload" else "application/json"
    with socket.create_connection((host, int(port))) as leaving:
        head = (
            f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n"
        )
        leaving.sendall(head.encode() + b"--x\r\n")
        time.sleep(0.3)
    assert urllib.request.urlopen(f"{served.address}/config", timeout=30).status == 200
    time.sleep(0.3)
    assert served.log[logged:] == ""


def test_fifty_at_once_are_served_and_a_tab_closed_halfway_does_no_harm(
    page: Page, browser: Browser, served: Served, photo: Path
) -> None:
    picture = served.upload(photo)
    with ThreadPoolExecutor(50) as crowd:
        asked = [crowd.submit(served.ask, "caption", picture, "", ["beam", "greedy"], {}, n) for n in range(50)]
        with browser.new_context(base_url=served.address) as context:
            leaving = context.new_page()
            leaving.goto("/")
            give(leaving, photo)
        assert [each.result()[0] for each in asked] == [200] * 50
    captioned(page, photo)


def test_an_arabic_caption_runs_from_right_to_left(page: Page, photo: Path) -> None:
    choose(page, "arabic")
    expect(page.locator("#about b")).to_have_text("arabic")  # else it is captioned again when the settings arrive
    captioned(page, photo)
    page.locator(".wg-row").first.click()
    expect(page.locator(".wg-words")).to_be_visible()
    words = page.locator(".wg-word:not(.wg-end)")
    assert set(words.locator("span").all_inner_texts()) <= set(ARABIC)
    edges = [box["x"] for box in map(Locator.bounding_box, page.locator(".wg-word").all()) if box]
    assert len(edges) > 2 and edges == sorted(edges, reverse=True)
    for part in (".wg-text", ".wg-sentence"):
        assert page.locator(part).first.evaluate("node => node.matches(':dir(rtl)')"), part
    words.first.focus()
    page.keyboard.press("ArrowLeft")  # to the second word, which stands left of the first
    expect(words.nth(1)).to_be_focused()
    assert "“\u2068" in page.locator(".wg-status").inner_text()
