"""``wordgaze card``: the model card of a captioner, as Markdown and as a page."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Refused, files
from wordgaze.cli import app


def test_the_card_of_the_packaged_captioner_is_the_one_it_came_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["card", "photos"])
    assert (shown.exit_code, shown.stdout.startswith("# photos: a captioner of wordgaze\n")) == (0, True)
    done = CliRunner().invoke(app, ["card", "photos", "-o", "photos.html"])
    assert done.stdout == "photos.html: the model card of photos\n"
    page = Path("photos.html").read_text(encoding="utf-8")
    assert "<title>photos: a captioner of wordgaze</title>" in page and "BLEU-4" in page


def test_an_output_that_cannot_be_written_is_refused_before_any_work(refused: Refused) -> None:
    line = refused("card", "nowhere", "--output", "card.pdf")
    assert line == "--output card.pdf: name the file .md for Markdown or .html for a page"
    line = refused("card", "photos", "--output", "gone/card.md")
    assert line == "gone/card.md: there is no folder gone; make it, or give --output another name"
    assert files() == []
