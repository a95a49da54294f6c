"""Progress is a plain line now and then in a log, and a bar on a terminal; the work itself passes untouched."""

import io
import sys
import time

import pytest

from wordgaze.core import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_track_gives_every_item_and_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(progress.track(["a", "b"], "letters")) == ["a", "b"]
    assert list(progress.track(iter("abcd"), "stream", total=4)) == list("abcd")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["letters: 50% of 2", "letters: 100% of 2"]
    assert lines[-1] == "stream: 100% of 4"


def test_a_process_that_does_a_part_of_the_work_of_another_shows_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(progress, "_is_hidden", False)
    progress.hide()
    assert list(progress.track("ab", "letters")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_without_a_total_the_count_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(progress.track((n for n in range(2)), "numbers")) == [0, 1]
    assert capsys.readouterr().err == "numbers: 1\nnumbers: 2\n"


def test_bytes_are_printed_in_their_units(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    with progress.transfer("download") as report:
        report(49_600_000, 124_000_000)
        report(50_000_000, None)
    assert capsys.readouterr().err == "download: 40% of 124.0 MB\ndownload: 50.0 MB\n"


def test_short_work_prints_nothing_and_long_work_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(progress.track(range(1000), "short")) == 499_500
    assert capsys.readouterr().err == ""
    seconds = iter([0.0, 1.0, 6.0, 7.0, 8.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    assert len(list(progress.track(range(4), "long"))) == 4
    assert capsys.readouterr().err == "long: 50% of 4\nlong: 100% of 4\n"


def test_nothing_to_do_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track([], "nothing")) == []
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_bars_even_one_within_another(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for _ in progress.track(range(2), "epochs [bold]"):
        assert list(progress.track("ab", "batches")) == ["a", "b"]
    with progress.transfer("download") as report:
        report(50, 100)
    shown = terminal.getvalue()
    assert all(text in shown for text in ("epochs [bold]", "2/2", "download", "50/100 bytes"))


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_printed_to_a_file_stays_there_beside_a_bar(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    """``wordgaze caption folder/ > captions.tsv`` on a terminal."""
    terminal, output = Terminal(), Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", output)
    for letter in progress.track("ab", "letters"):
        print(f"row {letter}")
    assert ("row a" in terminal.getvalue()) == is_terminal
    assert (output.getvalue() == "row a\nrow b\n") == (not is_terminal)
