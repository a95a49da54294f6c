"""Checksums beside files: checked in the form of sha256sum, and damage is one line with the file and the way out."""

import subprocess
from pathlib import Path

import pytest
import torch

from wordgaze.core.checksums import (
    check_file,
    checked_meanwhile,
    read_checksums,
    read_tensors,
    tensor_digest,
    write_checksums,
)
from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256, write_tensors

NAMES = ["a.txt", "b c.bin"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("words\n")
    (tmp_path / "b c.bin").write_bytes(bytes(range(256)))
    write_checksums(tmp_path, NAMES)
    return tmp_path


def test_the_list_is_what_sha256sum_checks(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    assert read_checksums(folder, NAMES) == {name: sha256(folder / name) for name in NAMES}


def test_known_checksums_are_not_computed_again(folder: Path) -> None:
    write_checksums(folder, NAMES, {"a.txt": "0" * 64})
    assert read_checksums(folder)["a.txt"] == "0" * 64


def test_a_folder_without_a_list_has_no_checksums(tmp_path: Path) -> None:
    assert read_checksums(tmp_path, ["needed"]) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "SHA256SUMS has no checksum of a.txt; make it"),
        (b"\xff\xfe", "SHA256SUMS cannot be read"),
        (b"not a checksum\n", "is not a list of checksums, as sha256sum writes it; make it"),
        (b"0" * 64 + b"  a.txt\n" + b"1" * 64 + b"  a.txt\n", "is not a list of checksums"),
        (b"0" * 64 + b"  b c.bin\n", "has no checksum of a.txt"),
    ],
)
def test_a_broken_list_is_one_line(folder: Path, content: bytes, message: str) -> None:
    (folder / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_checksums(folder, ["a.txt"], "make it")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/dev/zero", "../secret", "..", "a/b", "a\0b"])
def test_a_list_names_no_file_outside_its_folder(folder: Path, name: str) -> None:
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(DataError, match="is not a list of checksums"):
        read_checksums(folder)


def test_a_device_in_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is a folder or a device, not a file; make it"):
        check_file(tmp_path / "weights", "0" * 64, "make it")
    (tmp_path / "SHA256SUMS").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="SHA256SUMS is a folder or a device, not a file; make it"):
        read_checksums(tmp_path, remedy="make it")


@pytest.mark.parametrize("content", [b"", b"other\n"])
def test_another_file_than_was_written_is_named_with_the_way_out(folder: Path, content: bytes) -> None:
    path, expected = folder / "a.txt", sha256(folder / "a.txt")
    check_file(path, expected)
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"a.txt is damaged: its SHA-256 is .*…, and .*SHA256SUMS has .*…; make it again"
    ):
        check_file(path, expected, "make it again")
    check_file(path, None)
    path.unlink()
    with pytest.raises(DataError, match=r"a.txt cannot be read \(No such file or directory\)"):
        check_file(path, expected)


def test_tensors_are_read_only_if_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"x": torch.ones(3)})
    expected = sha256(path)
    assert torch.equal(read_tensors(path, expected)["x"], torch.ones(3))
    write_tensors(path, {"x": torch.zeros(3)})
    with pytest.raises(DataError, match=r"x\.safetensors is damaged"):
        read_tensors(path, expected)
    assert torch.equal(read_tensors(path, None)["x"], torch.zeros(3))
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"x\.safetensors cannot be read"):
        read_tensors(path, None)


def test_what_fails_on_a_damaged_file_is_told_by_the_damage(folder: Path) -> None:
    with checked_meanwhile(folder / "a.txt", sha256(folder / "a.txt")):
        pass
    with pytest.raises(ZeroDivisionError), checked_meanwhile(folder / "a.txt", sha256(folder / "a.txt")):
        raise ZeroDivisionError
    with pytest.raises(DataError, match=r"a\.txt is damaged"), checked_meanwhile(folder / "a.txt", "0" * 64):
        raise ZeroDivisionError


def test_a_digest_depends_on_all_of_the_tensors_and_on_the_text() -> None:
    one = {"a": torch.ones(4), "b": torch.zeros(2, dtype=torch.bfloat16)}
    others = [
        {**one, "a": torch.ones(2, 2)},
        {**one, "a": torch.tensor([1, 1, 1, 2.0])},
        {"c": one["a"], "b": one["b"]},
        {**one, "b": torch.zeros(2, dtype=torch.float16)},
    ]
    assert len({tensor_digest(each) for each in [one, *others]} | {tensor_digest(one, "text")}) == 6
    assert tensor_digest({"b": one["b"], "a": one["a"]}) == tensor_digest(one)
