"""The rows of an unfinished table survive the process, and are found again by image and key."""

import sys
from pathlib import Path

import pytest

from tests.disk import full_disk
from wordgaze.core.errors import CaptionsError
from wordgaze.inference.journal import open_journal
from wordgaze.inference.table import Row

ROWS = [Row("a.png", "a dog", -1.5, 0.22), Row("a.png", "ein Hund", -2.5, 0.1)]


def unfinished(table: Path, key: str = "key", *images: str) -> None:
    with pytest.raises(KeyboardInterrupt), open_journal(table, key) as journal:
        for image in images:
            journal.add(image, ROWS)
        raise KeyboardInterrupt


def test_what_was_added_is_found_again_in_any_order(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    unfinished(table, "key", "one", "two\nlines", "犬")
    added = Row("d.png", "a cat", -1.0, 0.37, confidence=0.6, path="d/d.png")
    with open_journal(table, "key") as journal:
        assert len(journal) == 3
        first, other = journal.position("one"), journal.position("two\nlines")
        assert first is not None and other is not None and journal.position("four") is None
        position = journal.add("four", [added])
        assert journal.position("four") == position
        assert list(journal.rows([position, first])) == [added, *ROWS]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path, cut: int) -> None:
    table, part = tmp_path / "t.csv", tmp_path / "t.csv.part"
    unfinished(table, "key", "one", "two")
    part.write_bytes(part.read_bytes()[:-cut])
    with open_journal(table, "key") as journal:
        first = journal.position("one")
        assert first is not None and journal.position("two") is None
        assert list(journal.rows([journal.add("two", ROWS), first])) == ROWS * 2


def test_another_key_or_no_resume_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "t.csv"
    unfinished(table, "key", "one")
    with open_journal(table, "other") as journal:
        assert len(journal) == 0
    assert "t.csv.part was written with another model or other settings" in caplog.text
    unfinished(table, "key", "one")
    with open_journal(table, "key", resume=False) as journal:
        assert len(journal) == 0


def test_an_error_before_the_first_image_leaves_no_file(tmp_path: Path) -> None:
    unfinished(tmp_path / "t.csv", "key")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file_and_keeps_what_is_written(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    with pytest.raises(OSError, match="File too large") as error, full_disk(800), open_journal(table, "key") as journal:
        for n in range(100):
            journal.add(str(n), ROWS)
    assert error.value.filename == str(tmp_path / "t.csv.part")
    with open_journal(table, "key") as journal:
        assert 0 < len(journal) < 100
        first = journal.position("0")
        assert first is not None
        assert list(journal.rows([first])) == ROWS


def test_a_file_that_is_not_a_journal_is_kept(tmp_path: Path) -> None:
    part = tmp_path / "t.csv.part"
    part.write_text("a download that is not complete")
    for resume in (True, False):
        with (
            pytest.raises(CaptionsError, match=r"t\.csv\.part was not written by wordgaze; move it"),
            open_journal(tmp_path / "t.csv", "key", resume),
        ):
            pass
    assert part.read_text() == "a download that is not complete"


@pytest.mark.parametrize("begin", ["", "{", '{"key": "12', '{"key": \xff}\n'])
def test_a_journal_whose_first_line_is_incomplete_is_started_again(tmp_path: Path, begin: str) -> None:
    (tmp_path / "t.csv.part").write_text(begin)
    with open_journal(tmp_path / "t.csv", "key") as journal:
        assert len(journal) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is not available on Windows")
def test_a_second_run_at_the_same_time_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path / "t.csv", "key") as journal:
        position = journal.add("a", [Row("a", "a dog")])
        for resume in (True, False):
            with (
                pytest.raises(CaptionsError, match=r"t\.csv\.part is being written by another run"),
                open_journal(tmp_path / "t.csv", "other", resume),
            ):
                pass
        assert [row.caption for row in journal.rows([position])] == ["a dog"]


def test_an_image_that_failed_has_rows_and_is_tried_again(tmp_path: Path) -> None:
    table, failed = tmp_path / "t.csv", Row("b.png", error="b.png: is broken", path="x/b.png")
    with pytest.raises(KeyboardInterrupt), open_journal(table, "key") as journal:
        journal.add("one", ROWS)
        position = journal.add("two", [failed], is_done=False)
        assert list(journal.rows([position])) == [failed]
        raise KeyboardInterrupt
    with open_journal(table, "key") as journal:
        assert (len(journal), journal.position("two")) == (1, None)
