"""Records of the package appear on stderr as plain lines; other libraries stay quiet."""

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from wordgaze.core import progress
from wordgaze.core.logs import LOGGER, configure_logging

_log = logging.getLogger("wordgaze.data.example")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:], logger.level = handlers, level
    logger.setLevel(level)


def log_everything() -> None:
    _log.debug("debug")
    _log.info("%d rows of %s", 3, "a.csv")
    _log.warning("rare\nwords")
    _log.error("broken")


@pytest.mark.parametrize(
    ("verbosity", "lines"),
    [
        (-2, ["error: broken"]),
        (-1, ["error: broken"]),
        (0, ["3 rows of a.csv", "warning: rare words", "error: broken"]),
        (1, ["debug", "3 rows of a.csv", "warning: rare words", "error: broken"]),
        (3, ["debug", "3 rows of a.csv", "warning: rare words", "error: broken"]),
    ],
)
def test_information_is_shown_on_stderr(verbosity: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Fault 11: without any configuration, information was never shown."""
    configure_logging(verbosity)
    log_everything()
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()) == ("", lines)


def test_the_last_call_counts_and_no_line_is_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    for verbosity in (1, 0):
        configure_logging(verbosity)
    log_everything()
    assert capsys.readouterr().err.splitlines() == ["3 rows of a.csv", "warning: rare words", "error: broken"]


def test_other_libraries_stay_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(1)
    logging.getLogger("matplotlib.font_manager").info("a font")
    assert capsys.readouterr().err == ""


def test_an_exception_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        _log.exception("a prediction failed")
    assert capsys.readouterr().err.startswith("error: a prediction failed\nTraceback")


def test_a_line_appears_above_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging()
    with progress.counter("features") as report:
        report(1, 2)
        _log.info("a message")
        report(2, 2)
    shown = terminal.getvalue()
    assert "a message\n" in shown
    assert "2/2" in shown


def test_a_message_cannot_forge_a_line_or_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("wordgaze.x").info("a file %s", "\x1b[2J\nerror: forged\u202e")
    assert capsys.readouterr().err == "a file \ufffd[2J error: forged\ufffd\n"
