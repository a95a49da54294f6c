"""``dvc plots show`` in a browser without a network, after ``wordgaze offline-plots``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM, NO_CHROMIUM

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.slow


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_the_plots_are_drawn_without_a_network(copied: "Callable[[], Project]") -> None:
    project = copied()
    done = project.stage("offline-plots")
    assert (done.returncode, done.stderr) == (0, "")
    assert project.changed_files() == ""
    address = project.dvc("plots", "show").strip().splitlines()[-1]
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        for title in ("Training loss, nats per word", "CIDEr of the dev split, greedy"):
            page.locator(f"svg:has-text('{title}'), canvas").first.wait_for(timeout=60_000)
        drawn = page.locator(".vega-embed canvas, .vega-embed svg.marks").count()
        browser.close()
    assert drawn == 5
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
