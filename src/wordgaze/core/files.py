"""Atomic writes of files and directories, checked reads of JSON, checksums, and JSON with reproducible bytes."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields the path of an empty temporary file beside ``path``, which replaces ``path`` when the block succeeds.

    The data is flushed to the disk before the rename. If the block raises (a full disk, an interrupt), the temporary
    file is deleted and ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path, path.suffix)
    # Created like any other file, so the kernel applies the umask; reading the umask would change it for all threads.
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        error.filename = str(path)  # the temporary name means nothing to whoever reads the message
        raise
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):  # the error of a full disk carries no file name
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yields an empty temporary directory beside ``path``, which replaces ``path`` when the block succeeds.

    The old directory is renamed, the new one takes its place, and only then is the old one deleted; if the second
    rename fails, the old directory is put back. With ``sync`` the directory's own files are flushed to the disk first,
    those of its subdirectories are not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        temporary.mkdir()  # the kernel applies the umask, as for any other directory
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield temporary
        if sync:
            for file in (each for each in temporary.iterdir() if each.is_file()):
                _sync(file)
            _sync(temporary)
        _replace_directory(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as :func:`stable_json`, atomically."""
    write_text(path, stable_json(value) + "\n")


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Writes named tensors as safetensors, atomically. Raises OSError if they cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_write(path) as temporary:
        mode = temporary.stat().st_mode
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
            temporary.chmod(mode)  # safetensors makes a file of its own, which only its owner may read
        except SafetensorError as error:  # safetensors reports a full disk by a class of its own
            raise OSError(errno.EIO, str(error), str(path)) from error


def read_json(path: Path, remedy: str) -> Any:
    """The value of a JSON file. Raises DataError, which ends with ``remedy``, if it is missing or not valid JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({' '.join(str(error).split())}); {remedy}") from error


def stable_json(value: Any) -> str:
    """JSON with sorted keys, indented by two spaces: equal values give equal bytes. Raises ValueError for NaN."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, as 64 hexadecimal digits."""
    return checksum(path, "sha256")


def checksum(path: Path, algorithm: str) -> str:
    """The checksum of a file by any algorithm of :mod:`hashlib`, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fingerprint(*values: Any) -> str:
    """Sixteen hexadecimal digits of a hash over JSON-serialisable values, used as the key of a scratch folder."""
    return hashlib.sha256(stable_json(values).encode()).hexdigest()[:16]


def _sibling(path: Path, suffix: str = "") -> Path:
    """An unused hidden name in the same directory, and so on the same file system."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{suffix}")


def _replace_directory(new: Path, path: Path) -> None:
    """Renames ``new`` to ``path``. A directory cannot be renamed over one that is not empty, so that one goes first."""
    old = _sibling(path, ".old")
    try:
        path.rename(old)
    except FileNotFoundError:
        new.rename(path)
        _sync(path.parent)
        return
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    _sync(path.parent)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def _sync(path: Path) -> None:
    """Flushes a file's data, or a directory's names, to the disk, so that they survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
