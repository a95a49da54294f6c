"""Takes the screenshots of an exported page for the documentation: light, dark and narrow. Needs Chromium.

wordgaze export photos site --to web
python docs/scripts/export_screenshots.py site [--example 2] [--word 2]
"""

import argparse
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
WINDOWS = {"light": (1100, 860), "dark": (1100, 860), "narrow": (390, 844)}  # pixels


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--example", type=int, default=2, help="number of the example image on the page")
    parser.add_argument("--word", type=int, default=2, help="number of the caption's word to select")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=args.site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name in WINDOWS:
            take(browser, address, args.example, args.word, name)
        browser.close()
    server.shutdown()


def take(browser: Browser, address: str, example: int, word: int, name: str) -> None:
    """Captions an example image, selects a word of the caption, and writes docs/images/export-NAME.jpg."""
    width, height = WINDOWS[name]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if name == "dark" else "light",
        reduced_motion="reduce",
    )
    page.goto(address)
    page.locator("#examples button").nth(example - 1).click()
    expect(page.locator("#status")).to_contain_text("Caption:", timeout=60_000)
    page.locator("#words button").nth(word - 1).click()
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"export-{name}.jpg", type="jpeg", quality=85, full_page=True)
    page.close()


if __name__ == "__main__":
    main()
