"""Files and directories are replaced atomically, whatever fails, and equal values are written as equal bytes."""

import os
import stat
import threading
from pathlib import Path

import pytest
import torch

from tests.disk import full_disk
from wordgaze.core.errors import DataError
from wordgaze.core.files import (
    atomic_directory,
    atomic_write,
    fingerprint,
    missing_file_remedy,
    read_json,
    sha256,
    stable_json,
    write_json,
    write_tensors,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_changes_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "notes.txt"
    write_text(path, "first")
    with atomic_write(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first"
        assert temporary.suffix == ".txt"
    assert path.read_text() == "second"

    def interrupted() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "second"
    assert names(path.parent) == ["notes.txt"]


def test_a_folder_changes_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with atomic_directory(path) as temporary:
        (temporary / "first").touch()

    def failing() -> None:
        with atomic_directory(path) as temporary:
            (temporary / "second").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert names(path) == ["first"]
    with atomic_directory(path) as temporary:
        (temporary / "third").touch()
        assert names(path) == ["first"]
    assert names(path) == ["third"]
    assert names(path.parent) == ["folder"]


def test_a_directory_is_never_deleted_before_its_successor_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 10: the old directory was deleted first, so a failing rename lost both."""
    path = tmp_path / "folder"
    with atomic_directory(path) as temporary:
        (temporary / "old").touch()
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if Path(target) == path and (Path(source) / "new").exists():
            raise PermissionError(13, "Permission denied", str(path))
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(PermissionError), atomic_directory(path) as temporary:
        (temporary / "new").touch()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_the_old_directory_is_renamed_and_not_deleted_while_the_new_one_moves_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "folder", []
    with atomic_directory(path) as temporary:
        (temporary / "old").touch()
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        rename(source, target)
        seen.append(any(each.name == "old" for each in tmp_path.rglob("*")))

    monkeypatch.setattr(os, "rename", watched)
    with atomic_directory(path) as temporary:
        (temporary / "new").touch()
    assert seen == [True, True]
    assert names(path) == ["new"]


def test_a_link_to_a_directory_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_directory(tmp_path / "link") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "link") == ["new"]
    assert names(tmp_path / "target") == ["kept"]
    assert names(tmp_path) == ["link", "target"]


def test_the_umask_does_not_change_for_other_threads(tmp_path: Path) -> None:
    """Fault 10: the umask of the process was zero for a moment, and files of other threads were writable by all."""
    stop, modes = threading.Event(), set()

    def create() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = tmp_path / f"other-{number}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
            modes.add(stat.S_IMODE(path.stat().st_mode))
            path.unlink()

    before = os.umask(0o027)
    thread = threading.Thread(target=create)
    thread.start()
    try:
        for number in range(200):
            write_text(tmp_path / f"file-{number % 3}", "")
            with atomic_directory(tmp_path / "folder"):
                pass
    finally:
        stop.set()
        thread.join()
        os.umask(before)
    assert modes == {0o640}


def test_the_umask_is_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask belongs to the whole process"))
    write_text(tmp_path / "file", "")
    with atomic_directory(tmp_path / "folder"):
        pass


def test_data_reaches_the_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("sync"), fsync(file))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b))[1])
    write_text(tmp_path / "file", "text")
    assert events == ["sync", "replace", "sync"]  # the file, the rename, the directory
    events.clear()
    with atomic_directory(tmp_path / "folder") as temporary:
        (temporary / "one").touch()
    assert events == ["sync", "sync", "sync"]  # the file, the new directory, its parent


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "is missing"), (b"{", "is not valid JSON"), (b"\xff", "is not valid JSON"), (b"[" * 10**5, "is not valid")],
)
def test_json_that_cannot_be_read_is_one_line_with_the_remedy(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "value.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_json(path, "run it again")
    assert str(caught.value).startswith(f"{path} {reason}")
    assert str(caught.value).endswith("; run it again")
    assert "\n" not in str(caught.value)


def test_files_and_folders_get_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with atomic_directory(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")]
    assert modes == [0o640, 0o750]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    text, tensors = tmp_path / "old.txt", tmp_path / "old.safetensors"
    write_text(text, "old")
    write_tensors(tensors, {"a": torch.zeros(2)})
    before = tensors.read_bytes()
    with full_disk(1_000), pytest.raises(OSError, match="File too large") as caught:
        write_text(text, "new" * 1_000)
    assert caught.value.filename == str(text)
    with full_disk(1_000), pytest.raises(OSError, match="File too large") as caught:
        write_tensors(tensors, {"a": torch.zeros(1_000)})
    assert caught.value.filename == str(tensors)
    assert (text.read_text(), tensors.read_bytes()) == ("old", before)
    assert names(tmp_path) == ["old.safetensors", "old.txt"]


def test_an_error_keeps_the_name_of_the_file_it_is_about(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "copy"):
        (tmp_path / "original").read_bytes()
    assert caught.value.filename == str(tmp_path / "original")


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", {"b": "ü", "a": [1, 2.5]})
    write_json(tmp_path / "two.json", {"a": [1, 2.5], "b": "ü"})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one.json").read_text(encoding="utf-8") == stable_json({"a": [1, 2.5], "b": "ü"}) + "\n"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert len({fingerprint(1, 2), fingerprint(2, 1), fingerprint([1, 2]), fingerprint("1", 2)}) == 4
    with pytest.raises(ValueError, match="nan"):
        stable_json({"score": float("nan")})


def test_a_checksum_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_that_takes_no_file_is_named_by_the_file_wanted() -> None:
    path = Path("/proc/wordgaze.txt")
    if not path.parent.is_dir():
        pytest.skip("there is no /proc")
    with pytest.raises(OSError, match=r"wordgaze\.txt") as caught:
        write_text(path, "first")
    assert caught.value.filename == str(path)


def test_tensors_may_be_read_by_whoever_may_read_other_files(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "a.txt").stat().st_mode


def test_a_web_address_is_told_from_a_missing_file() -> None:
    for address in ("https://example.org/a.jpg", "HTTP://example.org/a.jpg", "s3://bucket/a.jpg"):
        assert missing_file_remedy(Path(address)) == "wordgaze downloads no images; save it as a file first"
    for path in ("a.jpg", "https/a.jpg", "C:/a.jpg"):
        assert missing_file_remedy(Path(path)) == "check the path"
