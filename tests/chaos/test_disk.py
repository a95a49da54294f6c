"""A full disk and one that cannot be written: the file is named, nothing half-written is left, and room mends it."""

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.disk import read_only_disk, resize, small_disk
from wordgaze.cli import _os_message
from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_directory, check_output, check_output_folder, write_tensors, write_text
from wordgaze.inference.journal import open_journal
from wordgaze.inference.table import Row

ROOM, LARGE = 64 * 1024, 2 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        context = small_disk(folder, ROOM)
        context.__enter__()
    except OSError as error:
        pytest.skip(f"no file system can be mounted: {error}")
    try:
        yield folder
    finally:
        context.__exit__(None, None, None)


def _text(folder: Path) -> None:
    write_text(folder / "large.txt", "x" * 2 * ROOM)


def _tensors(folder: Path) -> None:
    write_tensors(folder / "weights.safetensors", {"weights": torch.zeros(ROOM)})


def _copies(folder: Path) -> None:
    source = folder.parent / "picture.png"
    source.write_bytes(b"x" * 2 * ROOM)
    with atomic_directory(folder / "images") as images:
        shutil.copyfile(source, images / "picture.png")


def _rows(folder: Path) -> None:
    with open_journal(folder / "t.csv", "key") as journal:
        for number in range(2 * ROOM // 100):
            journal.add(str(number), [Row("picture.png", "a dog " * 10)])


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (_text, "large.txt"), (_tensors, "weights.safetensors"), (_copies, "images/picture.png"), (_rows, "t.csv.part"),
    ],
)  # fmt: skip
def test_a_full_disk_names_the_file_and_leaves_nothing(disk: Path, write: Callable[[Path], None], name: str) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(disk)
    assert caught.value.filename == str(disk / name)
    assert ".new-" not in _os_message(caught.value)
    left = [path.name for path in disk.iterdir()]
    assert left == (["t.csv.part"] if write is _rows else [])  # the next run continues from it
    resize(disk, LARGE)
    write(disk)


def test_the_message_of_a_full_disk_has_the_file_and_a_way_out(disk: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        _text(disk)
    expected = f"No space left on device: {disk / 'large.txt'}; free some space, and run it again"
    assert (caught.value.errno, _os_message(caught.value)) == (errno.ENOSPC, expected)


def test_a_disk_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    try:
        with read_only_disk(tmp_path):
            for check, path in ((check_output, tmp_path / "t.csv"), (check_output_folder, tmp_path / "a")):
                with pytest.raises(OSError, match="Read-only file system") as caught:
                    check(path, "--output")
                assert caught.value.filename == str(path)
    except OSError as error:
        pytest.skip(f"no file system can be mounted: {error}")


def test_an_output_in_a_folder_that_is_not_there_is_refused_and_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*typo; make it, or give --output another name"):
        check_output(tmp_path / "typo" / "t.csv", "--output")
    assert not list(tmp_path.iterdir())
