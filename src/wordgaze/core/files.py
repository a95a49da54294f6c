"""Atomic writes of files and directories, checked reads of JSON, checksums, and JSON with reproducible bytes."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import DataError, WordgazeError
from wordgaze.core.interruption import check_interruption
from wordgaze.core.leftovers import OLD, delete, is_temporary, remove_leftovers, temporary_name
from wordgaze.core.printable import reason_of

if TYPE_CHECKING:
    from torch import Tensor

_SYNC_THREADS = 8
_ADDRESS = re.compile("(https?|ftp|s3|gs|file):/", re.IGNORECASE)  # pathlib has made one slash of two
_ATTEMPTS = 3  # to replace a directory that another process replaces too


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields the path of an empty temporary file beside ``path``, which replaces ``path`` when the block succeeds.

    The data is flushed to the disk before the rename. If the block raises (a full disk, an interrupt), the temporary
    file is deleted and ``path`` is unchanged; what a killed process leaves is removed by the next write in the folder.
    Errors name ``path``.
    """
    temporary = temporary_name(path, suffix=path.suffix)
    try:
        with _errors_of(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            # Created like any other file, so the kernel applies the umask; reading it would change it for all threads.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            check_interruption()
            _sync(temporary)
            os.replace(temporary, path)
            _sync_names(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty temporary directory beside ``path``, which replaces ``path`` when the block succeeds.

    All its files are flushed to the disk first. The old directory is renamed, the new one takes its place, and only
    then is the old one deleted; if the second rename fails, the old directory is put back, if the process is killed
    between the two, by the next write beside it. Errors name the files by their later place.
    """
    temporary = temporary_name(path)
    try:
        with _errors_of(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent)
            temporary.mkdir()  # the kernel applies the umask, as for any other directory
            yield temporary
            check_interruption()
            _sync_tree(temporary)
            _replace_directory(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def missing_file_remedy(path: Path) -> str:
    """What to do about an input that does not exist. A web address is said not to be downloaded."""
    if _ADDRESS.match(str(path)):
        return "wordgaze downloads no images; save it as a file first"
    return "check the path"


def check_output(path: Path, option: str) -> None:
    """Checks before a long work that the file ``path``, which the user gave as ``option``, can be written afterwards.

    Raises DataError if its folder is not there, and OSError, which names the file, if it is a folder or its folder
    cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.path.lexists(path.parent):
        raise DataError(f"{path}: there is no folder {path.parent}; make it, or give {option} another name")
    _check_folder(path.parent, path)


def check_output_folder(path: Path, option: str) -> None:
    """Checks before a long work that the folder ``path``, which the user gave as ``option``, can be made or filled.

    Only that folder is made: raises DataError if the one that it lies in is not there, or if it is a file, and OSError,
    which names the folder, if it cannot be written.
    """
    if not os.path.lexists(path):
        check_output(path, option)  # a folder is made as a file is
        return
    if not path.is_dir():
        raise DataError(f"{path} is a file; give {option} the name of a folder")
    _check_folder(path, path)


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
            code = re.search(r"os error (\d+)", str(error))
            if code:
                raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
            raise OSError(errno.EIO, str(error), str(path)) from error


def read_json(path: Path, remedy: str) -> Any:
    """The value of a JSON file. Raises DataError, which ends with ``remedy``, if it is missing or not valid JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({reason_of(error)}); {remedy}") from error


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


@contextmanager
def _errors_of(path: Path, temporary: Path) -> Iterator[None]:
    """Errors name ``path``, or what is below it, where they would name nothing or the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno:
            place = str(error.filename2 or error.filename or path)  # of a copy, the target is what was written
            place = place.replace(str(temporary), str(path))
            error.filename, error.filename2 = str(path) if is_temporary(Path(place)) else place, None
        raise
    except WordgazeError as error:
        error.args = tuple(
            each.replace(str(temporary), str(path)) if isinstance(each, str) else each for each in error.args
        )
        raise


def _check_folder(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EROFS if _is_read_only(folder) else errno.EACCES
        raise OSError(code, os.strerror(code), str(path))


def _is_read_only(folder: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _replace_directory(new: Path, path: Path) -> None:
    """Renames ``new`` to ``path``. A directory cannot be renamed over one that is not empty, so that one goes first."""
    for remaining in reversed(range(_ATTEMPTS)):
        old = temporary_name(path, OLD)
        try:
            with suppress(FileNotFoundError):
                path.rename(old)
            new.rename(path)
            break
        except BaseException as error:
            if not os.path.lexists(path) and os.path.lexists(old):
                old.rename(path)
            is_taken = isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if not (is_taken and remaining):  # another process has put its own there between the two renames
                raise
            delete(old)
    _sync_names(path.parent)
    delete(old)


def _sync(path: Path) -> None:
    """Flushes a file's data to the disk, so that it survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_names(folder: Path) -> None:
    """Flushes a folder's names to the disk, where the system can do that."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


def _sync_tree(folder: Path) -> None:
    """Flushes all files below a folder, several at a time: the disk writes what waits together."""
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        deque(pool.map(_sync, (file for file in files if not file.is_symlink())), maxlen=0)
    for place, _, _ in os.walk(folder):
        _sync_names(Path(place))
