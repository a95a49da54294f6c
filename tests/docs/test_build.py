"""The site builds without a warning, holds what is generated, and asks no other host for anything."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.blocks import CHECKOUT
from wordgaze.config.params import Params

README = CHECKOUT / "README.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # not --quiet, with which MkDocs counts no broken link
    assert "WARNING" not in done.stdout + done.stderr
    return folder


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for text in ("wordgaze caption", "wordgaze recipe use", "--num-beams", "wordgaze promote", "--force"):
        assert text in page


def test_every_parameter_is_in_the_reference_with_its_comment(site: Path) -> None:
    page = (site / "reference" / "params.html").read_text(encoding="utf-8")
    for section, values in Params().model_dump().items():
        for key in values if isinstance(values, dict) else ():
            assert f"<code>{section}.{key}" in page
    comments = re.findall(
        r"^ +\w+: .*# ([\w ,;]+)$", (CHECKOUT / "params.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(comments) >= 10
    assert "&lt;unk&gt;" in page
    assert [comment for comment in comments if comment not in page] == []


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    import wordgaze

    page = (site / "reference" / "python-api.html").read_text(encoding="utf-8")
    names = [name for name in wordgaze.__all__ if not name.startswith("__")]
    assert len(names) >= 5
    for name in names:
        assert re.search(rf"<h2[^>]*>(<[^>]*>|\s|class|func)*wordgaze\.{name}\b", page), name


def test_the_drawing_shows_every_package(site: Path) -> None:
    drawing = (site / "images" / "rooms.svg").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (CHECKOUT / "src/wordgaze").glob("*/__init__.py")]
    assert packages
    for package in packages:
        assert f">{package}</text>" in drawing


def test_equations_are_drawn(site: Path) -> None:
    page = (site / "explanation" / "model.html").read_text(encoding="utf-8")
    assert page.count('<svg role="img"') >= 6


class Requests(HTMLParser):
    """The addresses that a browser asks for when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") != "canonical":
            self.addresses.append(values.get("href") or "")


def test_no_page_asks_another_host(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    assert len(pages) >= 20
    for path in pages:
        parser = Requests()
        parser.feed(path.read_text(encoding="utf-8"))
        outside = [address for address in parser.addresses if re.match(r"(https?:)?//", address)]
        assert outside == [], path
        assert 'class="mermaid"' not in path.read_text(encoding="utf-8")  # whose script would be fetched
    for path in site.glob("**/*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_the_readme_is_short_and_its_links_exist() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert len(targets) >= 15
    assert [target for target in targets if not (CHECKOUT / target).exists()] == []
