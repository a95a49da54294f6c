"""Takes the screenshots of the web page for the documentation: light, dark and narrow.

Needs Chromium and a running page:

    wordgaze app --model photos &
    python docs/scripts/page_screenshots.py [--address http://127.0.0.1:7860] [--example 1] [--word 3]
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
WINDOWS = {"light": (1400, 1080), "dark": (1400, 1080), "narrow": (420, 1400)}  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="http://127.0.0.1:7860")
    parser.add_argument("--example", type=int, default=1, help="number of the example image on the page")
    parser.add_argument("--word", type=int, default=3, help="number of the caption's word to select")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name in WINDOWS:
            take_screenshot(browser, args.address, args.example, args.word, name)
        browser.close()


def take_screenshot(browser: Browser, address: str, example: int, word: int, name: str) -> None:
    """Captions an example image, selects a word of the caption, and writes docs/images/page-NAME.jpg."""
    width, height = WINDOWS[name]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if name == "dark" else "light"
    )
    page.goto(address)
    page.locator("#examples button").nth(example - 1).click()
    page.locator(".wg-row").first.wait_for()
    page.locator(".wg-waiting").first.wait_for(state="detached")
    page.locator(".wg-word").nth(word - 1).click()
    page.wait_for_timeout(800)  # the attention overlay moves
    page.screenshot(path=IMAGES / f"page-{name}.jpg", type="jpeg", quality=85)
    page.close()


if __name__ == "__main__":
    main()
