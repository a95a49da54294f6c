"""The page, served by a process of its own over two tiny captioners, and a browser that looks at it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.browser import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-quic", "--no-sandbox"]  # fmt: skip
PATIENCE = 300  # seconds; the server imports torch and gradio, on a machine that may be busy
SCRIPT = "<script>document.title='broken-in'</script>"
"""A word that the second captioner knows."""
ARABIC = ("أنا", "كلب", "قطة", "تجري", "تنام", "خارجا")
"""The words of the captioner ``arabic``, in the order of those of the others."""
CODE = """
import time
from dataclasses import replace
from pathlib import Path
from wordgaze.cli import main
from wordgaze.inference.captioner import Captioner

generate, load = Captioner.generate, Captioner.load

def patient_load(folder, *args):
    while Path(folder).name == "broken" and not Path("loaded").exists():
        time.sleep(0.05)
    return load(folder, *args)

def with_confidence(self, features, *args, **values):
    captions = generate(self, features, *args, **values)
    if len(features) > 8:
        time.sleep(0.2)
    if "surely" not in self.vocabulary.words:
        return captions
    known = {"naming": "cat: <i>seen", "is_outlier": args[0].max_new_tokens == 6}
    return [
        [replace(caption, confidence=0.62 - 0.31 * (i > 0), **known) for i, caption in enumerate(each)]
        for each in captions
    ]

Captioner.generate, Captioner.load = with_confidence, patient_load
main()
"""
"""``wordgaze``, where a captioner that knows the word "surely" is 62 % sure of its best caption, 31 % of the others, says
why they name a cat, and finds every picture unlike those of its training if captions have at most 6 words. The captioner
"broken" is loading until there is a file "loaded". More than 8 pictures at a time take a while, so that a batch can be
cancelled on any machine."""
SURE = {"strategy": "mbr", "num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 7, "name_objects": True}
"""The decoding settings of that captioner."""


@dataclass(frozen=True)
class Served:
    """Where the page is, the folder that it works in, and what it printed."""

    address: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def ask(self, endpoint: str, *values: object) -> tuple[int, object]:
        """What an endpoint of the page answers to a program: status, and JSON."""
        body = json.dumps({"data": values}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/gradio_api/run/{endpoint}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, json.load(response)["data"][0]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]

    def upload(self, path: Path) -> dict[str, str]:
        """A file brought to the page by a program."""
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % path.name.encode()
        body += path.read_bytes() + b"\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        request = urllib.request.Request(f"{self.address}/gradio_api/upload", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return {"path": json.load(response)[0]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, write_captioner: Callable[..., Path]) -> Iterator[Served]:
    """``wordgaze app`` with two captioners; the name and a word of the second are HTML, and it has no neighbours. The
    project has three more: one gives its confidence and has the settings SURE, one is Arabic, one is broken."""
    folder = tmp_path_factory.mktemp("page")
    first, second = (
        write_captioner(folder / "models" / "one", 10),
        write_captioner(folder / "models" / "<u>two", 11, known=False),
    )
    sure, broken = (write_captioner(folder / "models" / name, 12, known=False) for name in ("sure", "broken"))
    _sharpen(first / "weights.safetensors")
    for each, word in ((second, SCRIPT), (sure, "surely")):
        card = json.loads((each / "captioner.json").read_text())
        card["vocabulary"][-1] = word
        card["generation"] |= SURE if each == sure else {}
        (each / "captioner.json").write_text(json.dumps(card))
        (each / "SHA256SUMS").unlink()
    _translate(first, folder / "models" / "arabic", ARABIC)
    (broken / "weights.safetensors").write_bytes(b"no weights")
    (broken / "SHA256SUMS").unlink()
    with serve_app(folder, [first, second]) as served:
        yield served


@contextmanager
def serve_app(folder: Path, models: Sequence[Path], **settings: str) -> Iterator[Served]:
    """``wordgaze app`` in ``folder``, with environment variables; at the end it has left no temporary files behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "temporary").mkdir()
    aside = ("GRADIO_", "DVC_", "MLFLOW_", "WORDGAZE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(aside)}
    dead = "http://127.0.0.1:9"
    environment = {**kept, "TMPDIR": str(folder / "temporary"), "http_proxy": dead, "https_proxy": dead, **settings}
    command = [sys.executable, "-c", CODE, "app", "--port", str(port)]
    command += [part for model in models for part in ("--model", str(model))]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            served = Served(f"http://127.0.0.1:{port}", folder)
            _wait_for(served, process)
            yield served
        finally:
            process.terminate()
            process.wait(30)
    assert [path for path in (folder / "temporary").rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # the other workers' tests may take all cores for a while
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(served: Served, browser: "Browser") -> Iterator["Page"]:
    """The page, opened. At the end: browser and server met no error, and nobody else was asked for anything."""
    logged = len(served.log)
    with browser.new_context(
        base_url=served.address, viewport={"width": 1400, "height": 1000}, reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.goto("/")
        page.locator("#picture input[type=file]").first.wait_for(state="attached")
        yield page
        assert errors == []
        assert [url for url in asked if not url.startswith((served.address, "data:", "blob:"))] == []
        assert page.title() == "wordgaze"
    assert served.log[logged:] == ""


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 96 by 64 pixels."""
    path = tmp_path_factory.mktemp("photo") / "slope.png"
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(path)
    return path


def _sharpen(path: Path) -> None:
    """Makes a captioner with random weights, which looks everywhere alike, look at something."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    for name, factor in (("energy", 100), ("query_projection", 10), ("key_projection", 10)):
        weights[f"decoder.attention.score.{name}.weight"] *= factor
    save_file(weights, path)
    path.with_name("SHA256SUMS").unlink()


def _translate(source: Path, folder: Path, words: Sequence[str]) -> None:
    """Writes the captioner of ``source`` with other words to ``folder``."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    card = json.loads((source / "captioner.json").read_text())
    card["vocabulary"][-len(words) :] = words
    (folder / "captioner.json").write_text(json.dumps(card))
    (folder / "SHA256SUMS").unlink(missing_ok=True)


def _wait_for(served: Served, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, served.log
        try:
            with urllib.request.urlopen(served.address, timeout=5):
                return
        except urllib.error.HTTPError:  # it asks for a password
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"no answer from {served.address}: {served.log}")
