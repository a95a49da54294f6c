"""Walks through README.md as a new user would: its commands in order, then the web page in a browser, with screenshots.

    python docs/scripts/readme_walk.py CLONE OUT

CLONE is a copy of a clone in which ``make`` has run; the walk writes into it. OUT receives ``commands.log`` with what
each command printed, and screenshots of the page, 390 and 1280 pixels wide, to be looked at. Blocks that are marked as
not run are left out: tests/pipeline runs them. Needs Chromium.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHECKOUT = Path(__file__).parents[2]
PHOTOGRAPHS = CHECKOUT / "src" / "wordgaze" / "app" / "photographs"
WIDTHS = (390, 1280)  # pixels: a phone, a laptop
SECONDS = 300
PORT = 7861
_BLOCK = re.compile(r"(<!-- not run[^>]*-->\n)?```(bash|python)\n(.*?)```", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(args.clone.resolve() / "src")}
    run_commands(args.clone, args.out / "commands.log", environment)
    command = [sys.executable, "-m", "wordgaze", "app", "--port", str(PORT)]
    server = subprocess.Popen(command, cwd=args.clone, env=environment, start_new_session=True)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for width in WIDTHS:
                walk_page(browser, width, args.out)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def run_commands(clone: Path, log: Path, environment: dict[str, str]) -> None:
    """Runs the blocks of README.md in one shell that stops at the first error."""
    shutil.copy(PHOTOGRAPHS / "skier.jpg", clone / "photo.jpg")
    (clone / "holiday").mkdir(exist_ok=True)
    for name in ("bear.jpg", "bicycles.jpg"):
        shutil.copy(PHOTOGRAPHS / name, clone / "holiday" / name)
    lines = ["set -euo pipefail"]
    for not_run, language, code in _BLOCK.findall((clone / "README.md").read_text(encoding="utf-8")):
        if not not_run:
            text = code if language == "bash" else f"{sys.executable} - <<'END'\n{code}END\n"
            lines += [f"{{ set -x; }} 2>/dev/null\n{text}{{ set +x; }} 2>/dev/null\n"]
    with log.open("w", encoding="utf-8") as file:
        command = ["bash", "-c", "\n".join(lines)]
        subprocess.run(command, cwd=clone, env=environment, stdout=file, stderr=subprocess.STDOUT, check=True)


def walk_page(browser: Browser, width: int, out: Path) -> None:
    """Captions an example, picks a word, opens the settings, gives a broken file, and captions a batch."""
    page = browser.new_page(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(1000 * SECONDS)
    open_page(page)
    take(page, out, "start", width)
    page.locator("#examples button").first.click()
    page.locator(".wg-row").first.wait_for()
    page.locator(".wg-waiting").first.wait_for(state="detached")
    page.locator(".wg-word").nth(2).click()
    take(page, out, "caption", width)
    page.get_by_role("button", name="Settings").click()
    take(page, out, "settings", width)
    (out / "broken.png").write_text("these are words")
    give(page, "#picture", out / "broken.png")
    page.locator(".wg-problem:not(:empty)").wait_for()
    take(page, out, "broken", width)
    page.get_by_role("tab", name="Batch").click()
    give(page, "#files", *sorted(PHOTOGRAPHS.glob("*.jpg")))
    page.wait_for_timeout(2000)  # the files are on their way
    page.get_by_role("button", name="Caption all").click()
    page.get_by_text("pictures captioned").wait_for()
    take(page, out, "batch", width)
    page.close()


def open_page(page: Page) -> None:
    """Opens the page once the server answers."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            page.goto(f"http://127.0.0.1:{PORT}")
            break
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(1)
    page.locator("#picture input[type=file]").first.wait_for(state="attached")


def give(page: Page, part: str, *paths: Path) -> None:
    page.locator(f"{part} input[type=file]").first.set_input_files(list(paths))


def take(page: Page, out: Path, name: str, width: int) -> None:
    page.wait_for_timeout(800)  # the attention moves
    page.screenshot(path=out / f"{name}-{width}.png", full_page=True)


if __name__ == "__main__":
    main()
