"""MLflow's own page, in a real browser, over a store that wordgaze has filled."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser import CHROMIUM, NO_CHROMIUM
from tests.tracking.conftest import PATIENCE, mlflow_server
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.registry import register
from wordgaze.tracking.runs import StageRun, stage_run
from wordgaze.tracking.store import open_store

QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-quic", "--no-sandbox"]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)


@pytest.fixture
def runs(captioner: Path, white_picture: Path) -> dict[str, StageRun]:
    """A pipeline run of two stages, and its model in the registry."""
    with stage_run("train_stage1", {"train_stage1": {"learning_rate": 0.125}}) as training:
        [training.metrics({"dev_cider": value}, step) for step, value in ((1, 0.25), (2, 0.5))]
    with stage_run("evaluate", {}) as evaluation:
        evaluation.tag("dataset", "scenes")
        log_captioner(evaluation, captioner, white_picture, {"test/beam/cider": 0.5})
    register()
    return {"train_stage1": training, "evaluate": evaluation}


@pytest.fixture
def server(runs: dict[str, StageRun], project: Path) -> Iterator[str]:
    with mlflow_server(project) as address:
        yield address


@pytest.fixture
def page(server: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(base_url=server, viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        page.route(lambda url: not url.startswith((server, "data:", "blob:")), lambda route: route.abort())
        yield page
        browser.close()


def test_the_page_shows_the_parent_its_children_a_curve_and_the_model(page: Page, runs: dict[str, StageRun]) -> None:
    training = runs["train_stage1"]
    experiment = open_store().experiment
    page.goto(f"/#/experiments/{experiment}/runs/{training.parent_id}")
    for child in ("train_stage1", "evaluate"):
        page.get_by_role("link", name=child, exact=True).first.wait_for()

    page.goto(f"/#/experiments/{experiment}/runs/{training.run_id}")
    page.get_by_text("train_stage1.learning_rate").first.wait_for()
    page.get_by_text("0.125").first.wait_for()
    page.goto(f"/#/experiments/{experiment}/runs/{training.run_id}/model-metrics")
    page.get_by_text("dev_cider").first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()

    page.goto("/#/models/captioner")
    page.get_by_text("Version 1").first.wait_for()
    page.get_by_text("challenger").first.wait_for()
