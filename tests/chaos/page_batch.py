"""Kills of ``wordgaze app`` in the middle of a batch of its second tab.

    python -m tests.chaos.page_batch --tries 20 --captioner models/stage2 --images data/raw/images

Each try starts the page, gives it the images in a browser, ends it by a signal at a random moment of the batch, starts
it again and captions the batch to its end. The table must have the bytes of an undisturbed batch, and after the page has
ended no temporary file may be left.
"""

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 180  # seconds for the page to start, and for a batch
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SOURCE = Path(__file__).parents[2] / "src"


@contextmanager
def served(captioner: Path, folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """``wordgaze app`` in ``folder``, with a folder for temporary files there. At the end it is asked to end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from wordgaze.cli import main; main()", "app", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(folder / "tmp")}
    process = subprocess.Popen(
        [*command, "--model", str(captioner)], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while process.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield process, address
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE)


@contextmanager
def batch(browser: "Browser", address: str, images: Sequence[Path]) -> Iterator["Page"]:
    """The page, with a batch that has been started."""
    page = browser.new_page()
    try:
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(address)
        page.get_by_role("tab", name="Batch").click()
        page.locator("#files input[type=file]").first.set_input_files(images)
        page.locator("#files").get_by_role("link").nth(len(images) - 1).wait_for()
        page.get_by_role("button", name="Caption all").click()
        yield page
    finally:
        page.close()


def table(page: "Page") -> bytes:
    """The CSV of the finished batch."""
    button = page.locator("a:has-text('CSV'), button:has-text('CSV')").first
    page.wait_for_function("button => !button.disabled", arg=button.element_handle())
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


def undisturbed(browser: "Browser", captioner: Path, images: Sequence[Path], folder: Path) -> tuple[bytes, float]:
    """The table of a batch, and the seconds that it took."""
    with served(captioner, folder) as (_, address):
        started = time.monotonic()
        with batch(browser, address, images) as page:
            return table(page), time.monotonic() - started


def faults(folder: Path, again: bytes, expected: bytes) -> Iterator[str]:
    if again != expected:
        yield "the table of the second batch has other bytes"
    left = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if left:
        yield f"{len(left)} files are left, such as {left[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.page_batch", description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--captioner", type=Path, default=Path("models/stage2"), help="a captioner folder")
    parser.add_argument("--images", type=Path, default=Path("data/raw/images"), help="a folder of images")
    parser.add_argument("--number", type=int, default=40, help="the number of images in the batch")
    parser.add_argument("--seed", type=int, default=1, help="the random seed of the moments")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    # A job in the background of a shell ignores SIGINT, and so would the page that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    images = sorted(given.images.resolve().iterdir())[: given.number]
    captioner, draw, failures = given.captioner.resolve(), random.Random(given.seed), 0
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(prefix="wordgaze-campaign-") as room:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        folder = Path(room)
        (folder / "tmp").mkdir()
        expected, seconds = undisturbed(browser, captioner, images, folder)
        for number in range(given.tries):
            number_of_signal, delay = SIGNALS[number % len(SIGNALS)], draw.uniform(0, seconds)
            with served(captioner, folder) as (process, address), batch(browser, address, images):
                time.sleep(delay)
                process.send_signal(number_of_signal)
                process.wait(PATIENCE)
            again, _ = undisturbed(browser, captioner, images, folder)
            found = list(faults(folder, again, expected))
            failures += bool(found)
            said = "; ".join(found) or "nothing lost"
            print(f"{number + 1} of {given.tries}, {number_of_signal.name} after {delay:.1f} s: {said}", flush=True)
        browser.close()
    print(f"{given.tries} tries, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
