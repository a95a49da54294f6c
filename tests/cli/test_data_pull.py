"""``wordgaze data pull``: one line that says what there is, one with what comes next, and one for each error."""

import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wordgaze.cli import app
from wordgaze.core.errors import DownloadError


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    (tmp_path / "1.txt").write_text("a bird", encoding="utf-8")
    for name in ("b-0.tar", "b-1.tar"):
        with tarfile.open(tmp_path / name, "w") as opened:
            opened.add(tmp_path / "1.txt", "1.txt")
    return tmp_path


def test_the_next_commands_are_printed_and_can_be_copied(shards: Path) -> None:
    folder = shards / "my birds"
    result = CliRunner().invoke(app, ["data", "pull", f"webdataset:{shards}/b-{{0..1}}.tar", str(folder)])
    assert result.exit_code == 0, result.output
    there, following = result.stdout.splitlines()
    assert there.startswith(f"{folder}: 2 files, ")
    assert following == (
        f"next: wordgaze data check '{folder}'; train with dataset.name=folder dataset.source='{folder}'"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["b-0.tar", "b-1.tar"]


def test_a_source_that_is_none_is_an_error_of_the_project(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "pull", "birds", str(tmp_path / "birds")])
    assert result.exit_code == 1
    assert isinstance(result.exception, DownloadError)
