"""Checksums that lie beside the files they are of, and reads that are checked against them.

A folder's checksums are in its file SHA256SUMS, as ``sha256sum`` writes it, so that ``sha256sum -c SHA256SUMS`` checks
the folder without wordgaze. The file lists what a stage or a captioner reads, not necessarily all files of the folder.
A folder without the file was written by an older version, and is read unchecked.
"""

import hashlib
import mmap
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256, write_text

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUMS = "SHA256SUMS"
RESTORE = "restore the file from a copy, or make it again"

_LINE = re.compile(r"([0-9a-f]{64})  ((?!\.\.?$)[^/\0]+)")  # of files in the folder, and of no others


def read_tensors(path: Path, sha256: str | None, remedy: str = RESTORE) -> "dict[str, Tensor]":
    """The tensors of a file of safetensors, after a check of the file against its checksum, unless that is None.

    Raises DataError, which names the file and ends with ``remedy``, if it is missing, broken or has another checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_file(path, sha256, remedy)
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({' '.join(str(error).split())}); {remedy}") from error


def check_file(path: Path, expected: str | None, remedy: str = RESTORE) -> None:
    """Raises DataError, which ends with ``remedy``, if the file has another SHA-256 checksum. None accepts any file."""
    if expected is None:
        return
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is a folder or a device, not a file; {remedy}")
    try:
        actual = _mapped_sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    if actual != expected:
        raise DataError(
            f"{path} is damaged: its SHA-256 is {actual[:12]}…, and {path.parent / CHECKSUMS} has {expected[:12]}…;"
            f" {remedy}"
        )


@contextmanager
def checked_meanwhile(path: Path, expected: str | None, remedy: str = RESTORE) -> Iterator[None]:
    """As :func:`check_file`, in a thread while the block already uses the file, and before the block's result counts.

    A block that fails on a damaged file raises the DataError that says so. A checksum takes 0.6 s for each gigabyte,
    about as long as building a model takes from the tensors.
    """
    with ThreadPoolExecutor(1) as thread:
        checking = thread.submit(check_file, path, expected, remedy)
        try:
            yield
        finally:
            checking.result()


def write_checksums(
    folder: Path, names: Iterable[str], known: Mapping[str, str] | None = None, file: str = CHECKSUMS
) -> None:
    """Writes SHA256SUMS for these files of ``folder``, atomically; ``known`` are checksums that need no computing."""
    sums = {name: (known or {}).get(name) or sha256(folder / name) for name in names}
    write_text(folder / file, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def read_checksums(
    folder: Path, required: Iterable[str] = (), remedy: str = RESTORE, file: str = CHECKSUMS
) -> dict[str, str]:
    """The checksums of a folder's files by their names; none if the folder has no SHA256SUMS.

    Raises DataError, which ends with ``remedy``, if SHA256SUMS is broken or lacks one of the ``required`` names.
    """
    path = folder / file
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is a folder or a device, not a file; {remedy}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); {remedy}") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    matches = [_LINE.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in matches if match}
    if not all(matches) or len(sums) != len(lines):
        raise DataError(f"{path} is not a list of checksums, as sha256sum writes it; {remedy}")
    if missing := sorted(set(required) - set(sums)):
        raise DataError(f"{path} has no checksum of {missing[0]}; {remedy}")
    return sums


def _mapped_sha256(path: Path) -> str:
    """As :func:`wordgaze.core.files.sha256`, in one call, during which the other threads of Python run."""
    if not path.stat().st_size:  # an empty file cannot be mapped
        return sha256(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return hashlib.sha256(mapped).hexdigest()


def tensor_digest(tensors: "Mapping[str, Tensor]", text: str = "") -> str:
    """The SHA-256 of tensors on the CPU, with their names, dtypes and shapes, and of a text that belongs to them.

    It does not depend on how a file stores them, so a file can hold the digest of its own contents.
    """
    import torch

    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
