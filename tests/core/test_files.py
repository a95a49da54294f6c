"""Files are there whole or not at all, whatever goes wrong, and equal values are equal bytes."""

import os
import stat
from pathlib import Path

import pytest
import torch

from tests.disk import full_disk
from wordgaze.core.files import (
    atomic_directory,
    atomic_write,
    fingerprint,
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
