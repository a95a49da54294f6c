"""What the page's script sends, and what errors tell."""

import logging
from pathlib import Path
from typing import Any

import pytest

from wordgaze.app.event_values import one_line_errors, read_event, read_text, read_ticket, shown_error
from wordgaze.core import paths
from wordgaze.core.errors import CaptionsError, DataError, ModelError, ServiceError, WordgazeError

SENT = {"ticket": 3, "model": "one", "words": ["a", "dog"], "kind": "gif", "caption": "a dog", "text": "a cat"}


def test_an_event_is_read() -> None:
    event = read_event(SENT)
    assert (event.ticket, event.model, event.words, event.kind) == (3, "one", ("a", "dog"), "gif")
    assert (event.caption, event.text) == ("a dog", "a cat")
    assert read_event({}).words == ()


@pytest.mark.parametrize(
    "wrong",
    [{"model": 7}, {"model": ["one"]}, {"model": "x" * 2001}, {"words": "a dog"}, {"words": [1]}, {"words": {"a": 1}},
     {"words": ["dog"] * 101}, {"words": ["x" * 101]}, {"kind": []}, {"kind": "exe"}, {"caption": None},
     {"text": "x" * 2001}, {"text": {}}],
)  # fmt: skip
def test_a_value_that_is_not_one_is_refused_in_one_short_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(WordgazeError) as raised:
        read_event({**SENT, **wrong})
    assert len(str(raised.value)) < 150 and "\n" not in str(raised.value)


def test_an_event_without_values_is_refused_and_has_no_ticket() -> None:
    for data in (None, 7, "x", [1]):
        with pytest.raises(WordgazeError, match="reload the page"):
            read_event(data)
        assert read_ticket(data) == 0
    assert [read_ticket({"ticket": ticket}) for ticket in (5, "5", 10**20, None)] == [5, 0, 0, 0]
    with pytest.raises(CaptionsError, match="the caption is not a text"):
        read_text(None, "the caption")


def test_an_error_of_another_library_is_one_line_that_repeats_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(ServiceError, match="finds more in the log"), one_line_errors():
        raise KeyError("\x1b[2J secret of a client")
    [record] = caplog.records
    assert record.getMessage().startswith("a request failed: KeyError in ")
    assert "secret" not in record.getMessage() and record.exc_info is None
    with pytest.raises(DataError, match="as it is"), one_line_errors():
        raise DataError("as it is")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/home/ann/work/models/one holds a broken captioner", "one holds a broken captioner"),
        ("C:\\Users\\ann\\models\\one holds none", "one holds none"),
        ("'/etc/passwd' is not it; see /var/log/x.log", "'passwd' is not it; see x.log"),
        ("models/one holds 3/4 of https://example.org/a/b", "models/one holds 3/4 of https://example.org/a/b"),
        ("\x1b[2Jdog", "\ufffd[2Jdog"),
    ],
)
def test_an_error_names_files_and_no_folders(told: str, shown: str) -> None:
    assert shown_error(ModelError(told)) == shown


def test_the_folder_of_the_project_is_not_told_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "my project (2)"
    project.mkdir()
    monkeypatch.chdir(project)
    assert shown_error(DataError(f"{paths.home()}/corrections.sqlite is full")) == "corrections.sqlite is full"
    assert len(shown_error(DataError("x" * 10_000))) == 1000
