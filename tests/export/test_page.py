"""The page that ``wordgaze export --to web`` writes, in a real browser and, in parts, in Node."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.browser import CHROMIUM, NO_CHROMIUM
from wordgaze.core.errors import DownloadError, ModelError
from wordgaze.export.onnx_export import ExportSettings
from wordgaze.export.web_export import export_web
from wordgaze.export.web_runtime import RUNTIME_VERSION, cached_runtime, fetch_runtime, write_web_runtime
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.onnx_captioner import OnnxCaptioner

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PAGE = Path(__file__).parents[2] / "src/wordgaze/export/page"
NODE = shutil.which("node")
in_node = pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
QUIET = ["--disable-background-networking", "--no-first-run"]


def node(folder: Path, script: str) -> object:
    """What a script prints as JSON; ``page`` is the folder of the modules."""
    assert NODE is not None
    (folder / "script.mjs").write_text(script.replace("PAGE", PAGE.as_uri()))
    done = subprocess.run([NODE, folder / "script.mjs"], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@in_node
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    ("width", "height", "side"), [(90, 61, 32), (20, 31, 48), (32, 40, 32), (32, 32, 32), (300, 7, 16)]
)
def test_an_image_is_resized_to_the_pixels_of_pillow(
    tmp_path: Path, interpolation: str, width: int, height: int, side: int
) -> None:
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))
    (tmp_path / "pixels").write_bytes(image.convert("RGBA").tobytes())
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ resizePixels }} from "PAGE/resize.js";
        const image = {{ data: new Uint8Array(readFileSync("pixels")), width: {width}, height: {height} }};
        console.log(JSON.stringify(Array.from(resizePixels(image, {side}, "{interpolation}"))));
    """
    expected = np.asarray(image.resize((side, side), Image.Resampling[interpolation.upper()])).transpose(2, 0, 1)
    np.testing.assert_array_equal(np.array(node(tmp_path, script)).reshape(expected.shape), expected)


@in_node
def test_the_search_finds_the_captions_of_python(tmp_path: Path) -> None:
    from tests.generation.test_numpy_search import StepOfTorch
    from tests.generation.tiny import model, pictures
    from wordgaze.generation.numpy_search import NumpySearch

    cases = []
    for number, values in enumerate(SEARCHES):
        decoder, vocabulary = model(6, number)
        config = GenerationConfig(max_new_tokens=4, **values)  # type: ignore[arg-type]
        step = StepOfTorch(decoder, pictures(1)[0])
        found = NumpySearch(step, vocabulary, config).run()
        wanted = [[list(each.token_ids), each.score, each.finish_reason] for each in found]
        cases.append(
            {"words": vocabulary.words, "options": config.model_dump(), "table": tables(step, 4), "wanted": wanted}
        )
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    results = node(tmp_path, SEARCH_SCRIPT)
    assert isinstance(results, list)
    for case, result in zip(cases, results, strict=True):
        assert [each[::2] for each in result] == [each[::2] for each in case["wanted"]], case["options"]
        assert [each[1] for each in result] == pytest.approx([each[1] for each in case["wanted"]], abs=1e-4)


SEARCHES: list[dict[str, object]] = [
    {"strategy": "greedy"},
    {"num_beams": 2},
    {"num_beams": 5, "num_return_sequences": 3},
    {"num_beams": 4, "length_normalisation": "wu", "length_penalty": 1.3},
    {"num_beams": 4, "min_new_tokens": 3, "num_return_sequences": 2},
    {"num_beams": 3, "no_repeat_ngram_size": 2},
    {"num_beams": 3, "bad_words": ("w1", "w4")},
]

SEARCH_SCRIPT = """
    import { readFileSync } from "node:fs";
    import { logSoftmax, search } from "PAGE/search.js";
    const results = [];
    for (const { words, options, table } of JSON.parse(readFileSync("cases.json"))) {
        // The state is the words so far, by which the logits are looked up.
        const model = {
            start: async () => [""],
            step: async (last, length, states, parents) => {
                const next = parents.map((row, i) => (length ? `${states[row]} ${last[i]}` : ""));
                return { logProbs: next.map((key) => logSoftmax(table[key])), weights: next.map(() => []), states: next };
            },
        };
        const found = await search(model, words, options);
        results.push(found.map((each) => [each.ids, each.score, each.finishReason]));
    }
    console.log(JSON.stringify(results));
"""


def tables(step: "object", length: int) -> dict[str, list[float]]:
    """The logits of a decoder after every sequence of fewer than ``length`` words."""
    from wordgaze.generation.numpy_search import NumpyStepModel
    from wordgaze.text.vocabulary import START

    model: NumpyStepModel = step  # type: ignore[assignment]
    found: dict[str, list[float]] = {}
    rows = [("", START, model.init_state())]
    for number in range(length):
        following = []
        for key, last, states in rows:
            output = model.step(np.array([last]), number, states)
            found[key] = output.logits[0].tolist()
            ids = range(4, output.logits.shape[1])
            following += [(f"{key} {i}", i, output.states) for i in ids]
        rows = following
    return found


def test_another_package_is_not_taken_for_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(ModelError, match=rf"is not onnxruntime-web {RUNTIME_VERSION} .*; get it with npm pack"):
        write_web_runtime(tmp_path / "ort", tmp_path / "other.tgz")
    with pytest.raises(ModelError, match=r"missing\.tgz does not exist; give --runtime the file onnxruntime-web"):
        write_web_runtime(tmp_path / "ort", tmp_path / "missing.tgz")
    assert not (tmp_path / "ort").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("echo no such package >&2; exit 1", r"npm cannot fetch onnxruntime-web@.* \(no such package\); run npm pack"),
        (
            f"echo other > onnxruntime-web-{RUNTIME_VERSION}.tgz",
            r"npm brought another onnxruntime-web@.* than the pinned one",
        ),
        (None, r"npm is not on the PATH"),
    ],
)
def test_a_runtime_that_npm_cannot_bring_is_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | None, message: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if line is not None:
        (programs / "npm").write_text(f"#!/bin/sh\n{line}\n")
        (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DownloadError, match=message):
        fetch_runtime()
    assert not list(tmp_path.rglob("*.tgz")) and not list((tmp_path / "cache").rglob("*.npm"))


@pytest.fixture(scope="module")
def site(exported: Path, shared: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The page of the tiny captioner. Skips where the runtime was never fetched."""
    if not cached_runtime().is_file():
        pytest.skip("ONNX Runtime Web is not in the cache: run make web-runtime, which needs npm")

    def make(folder: Path) -> None:
        settings = ExportSettings(conformance=sorted(exported.glob("*.png")))
        export_web(exported / "captioner", folder / "site", settings, cached_runtime())

    return shared("site", make) / "site"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """``serve(folder)`` gives the address of a plain static server."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: "Browser") -> Iterator["BrowserContext"]:
    with browser.new_context(viewport={"width": 1100, "height": 900}, reduced_motion="reduce") as context:
        context.set_default_timeout(60_000)
        yield context


def opened(context: "BrowserContext", address: str) -> "Page":
    """The page with its models loaded, or with the sentence that says why they are not."""
    page = context.new_page()
    page.goto(address)
    page.locator("html[data-ready], #problem:not([hidden])").first.wait_for(state="attached")
    return page


def captioned(page: "Page", path: Path) -> str:
    from playwright.sync_api import expect

    page.locator("#file").set_input_files(path)
    expect(page.locator("#status")).to_contain_text("Caption:")
    return page.locator("#status").inner_text().removeprefix("Caption: ").removesuffix(".")


@in_browser
def test_the_page_captions_as_python_does_and_asks_nobody_else(
    site: Path, serve: Callable[[Path], str], context: "BrowserContext", picture: Path
) -> None:
    from playwright.sync_api import expect

    address = serve(site)
    errors: list[str] = []
    requests: list[str] = []
    context.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("request", lambda request: requests.append(request.url))
    page = opened(context, address)
    expect(page.locator("#problem")).to_be_hidden()
    captioner = OnnxCaptioner.load(site)
    best, *others = captioner.caption(picture, GenerationConfig(num_beams=5, num_return_sequences=3))
    assert captioned(page, picture) == best.text
    assert page.locator("#words button").all_inner_texts() == list(best.words)
    assert page.locator("#captions button").all_inner_texts() == [best.text, *(each.text for each in others)]
    page.locator("#words button").nth(1).click()
    expect(page.locator("#word-title")).to_contain_text(f"“{best.words[1]}”")
    assert page.locator("#alternatives tr").count() == 5
    page.locator("#strategy").select_option("greedy")
    [greedy] = captioner.caption(picture, GenerationConfig(strategy="greedy"))
    expect(page.locator("#status")).to_have_text(f"Caption: {greedy.text}.")
    expect(page.locator("#others")).to_be_hidden()
    assert errors == []
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []


@in_browser
def test_the_browser_conforms(site: Path, serve: Callable[[Path], str], context: "BrowserContext") -> None:
    from playwright.sync_api import expect

    page = context.new_page()
    page.goto(serve(site) + "conformance.html")
    expect(page.locator("#status")).to_have_text("6 of 6 captions have the same words.")
    results = page.evaluate("window.conformance")
    assert max(each["deviation"] for each in results) < 1e-4


@in_browser
def test_the_page_works_offline(
    site: Path, serve: Callable[[Path], str], context: "BrowserContext", picture: Path
) -> None:
    from playwright.sync_api import expect

    address = serve(site)
    page = opened(context, address)
    online = captioned(page, picture)
    expect(page.locator("#offline")).to_have_text("This page also works offline.")
    context.set_offline(True)
    for name in ("", "index.html"):
        page.goto(address + name)
        page.locator("html[data-ready]").wait_for(state="attached")
        assert captioned(page, picture) == online


@in_browser
def test_the_page_is_used_by_keyboard_and_screen_reader(
    site: Path, serve: Callable[[Path], str], context: "BrowserContext", picture: Path
) -> None:
    from playwright.sync_api import expect

    page = opened(context, serve(site))
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    text = captioned(page, picture)
    words = page.locator("#words button")
    words.first.focus()
    for key, place in (("ArrowRight", 1), ("End", words.count() - 1), ("ArrowRight", words.count() - 1), ("Home", 0)):
        page.keyboard.press(key)
        expect(words.nth(place)).to_be_focused()
        expect(words.nth(place)).to_have_attribute("aria-pressed", "true")
    label = page.locator("#picture").get_attribute("aria-label") or ""
    assert text in label and "attention" in label
    nameless = """controls => controls.filter(each => each.checkVisibility() && ![each.innerText, each.ariaLabel,
        each.labels?.[0]?.innerText, each.querySelector("img")?.alt].some(name => (name || "").trim())).length"""
    assert page.locator("button, input, select, a").evaluate_all(nameless) == 0


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_schemes(
    site: Path, serve: Callable[[Path], str], browser: "Browser", picture: Path, scheme: str
) -> None:
    with browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce",
        has_touch=True,  # type: ignore[arg-type]
    ) as context:
        context.set_default_timeout(60_000)
        page = opened(context, serve(site))
        captioned(page, picture)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")


@in_browser
def test_what_is_wrong_is_a_sentence_on_the_page(
    site: Path, serve: Callable[[Path], str], context: "BrowserContext", picture: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    problem = "#problem"
    page = opened(context, serve(site))
    (tmp_path / "letter.jpg").write_text("dear")
    page.locator("#file").set_input_files(tmp_path / "letter.jpg")
    expect(page.locator(problem)).to_have_text(
        "“letter.jpg” is not a picture that this browser can open. Choose a JPEG, PNG or WebP file."
    )
    captioned(page, picture)
    expect(page.locator(problem)).to_be_hidden()

    for number, (name, spoil, sentence) in enumerate(SPOILT):
        folder = Path(shutil.copytree(site, tmp_path / f"site{number}"))
        path = folder / name
        if spoil is None:
            path.unlink()
        else:
            path.write_bytes(spoil(path.read_bytes()))
        page = opened(context, serve(folder))
        expect(page.locator(problem)).to_contain_text(sentence)

    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    expect(page.locator(problem)).to_contain_text("Start a server in this folder, for example with")


SPOILT: list[tuple[str, Callable[[bytes], bytes] | None, str]] = [
    ("encoder.onnx", lambda data: data[:-50], "it was not copied completely. Copy the folder again"),
    ("decoder_step.onnx", lambda data: data[:-1] + b"?", "is not the file that was exported"),
    ("decoder_init.onnx", None, "decoder_init.onnx is missing on the server (status 404)"),
    ("config.json", lambda _: b"{}", "config.json is not that of a captioner"),
    ("config.json", lambda data: data.replace(b'"version": 1', b'"version": 2'), "this page reads version 1"),
    ("ort/ort-wasm.gzip", lambda data: data[:1000], "ort/ort-wasm.gzip is broken"),
]


@in_browser
def test_a_browser_without_simd_is_told(site: Path, serve: Callable[[Path], str], context: "BrowserContext") -> None:
    from playwright.sync_api import expect

    address = serve(site)
    body = "WebAssembly.validate = () => false;\n" + (site / "captioner.js").read_text(encoding="utf-8")
    context.route("**/captioner.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))
    page = opened(context, address)
    expect(page.locator("#problem")).to_contain_text("This browser has no WebAssembly with SIMD")


@in_browser
def test_all_files_of_the_page_are_kept_offline_and_small(site: Path) -> None:
    script = (site / "service-worker.js").read_text(encoding="utf-8")
    assert "__" not in script
    names = [path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()]
    left_out = {name for name in names if f'"{name}"' not in script}
    assert left_out == {"index.html", "service-worker.js"}  # the page is kept by the name of its folder
    without_models = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".onnx")
    assert without_models < 5_000_000
