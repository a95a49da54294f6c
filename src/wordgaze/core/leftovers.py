"""Names that tell which process a temporary file belongs to, so that a later run removes what a killed one left.

A name ends with the machine, the process id, the process's start time and a random number. Nothing of a running process
is removed; that of another machine, or another container, only when it is a week old.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

NEW, OLD = "new", "old"

_OWNER = re.compile(r"(?P<machine>[0-9a-f]{6})-(?P<process>[0-9]{1,10})-(?P<started>[0-9]{1,20})-[0-9a-f]{8}")
_NAME = re.compile(rf"\.?(?P<name>.+)\.(?P<kind>{NEW}|{OLD})-(?P<owner>{_OWNER.pattern})(\.[^./]*)?", re.DOTALL)
_MAX_NAME = 255  # bytes, of most file systems
_FOREIGN_LIFETIME = 7 * 24 * 3600.0  # seconds

_cleaned: set[tuple[int, str]] = set()  # the process, and a folder whose leftovers it has removed


def owner() -> str:
    """The name of this process, with a random end: no two calls give the same."""
    process = os.getpid()
    return f"{_machine()}-{process}-{_started(process)}-{secrets.token_hex(4)}"


def is_abandoned(owner: str, path: Path) -> bool:
    """Whether the process that :func:`owner` named has ended; False for a text that is not such a name.

    Of a process on another machine nothing is known, and the age of ``path`` decides.
    """
    match = _OWNER.fullmatch(owner)
    if match is None:
        return False
    if match["machine"] != _machine():
        try:
            return time.time() - path.lstat().st_mtime > _FOREIGN_LIFETIME
        except OSError:
            return False
    process = int(match["process"])
    return not is_running(process) or _started(process) != int(match["started"])


def is_running(process: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def temporary_name(path: Path, kind: str = NEW, suffix: str = "") -> Path:
    """An unused hidden name in the same folder, and so on the same file system, which a later run recognises."""
    end = f".{kind}-{owner()}{suffix}"
    name = os.fsencode(path.name)[: _MAX_NAME - 1 - len(os.fsencode(end))]
    return path.with_name(f".{os.fsdecode(name)}{end}")


def is_temporary(path: Path) -> bool:
    """Whether :func:`temporary_name` gave this name."""
    return _NAME.fullmatch(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files and folders of ended processes from ``folder``; once per process.

    A folder that was moved aside to be replaced, and was not, gets its name back. What cannot be removed stays.
    """
    known = (os.getpid(), str(folder.absolute()))
    if known in _cleaned:
        return
    _cleaned.add(known)
    with suppress(OSError):
        for path in list(folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match and _is_own(path) and is_abandoned(match["owner"], path):
                _remove(path, folder / match["name"] if match["kind"] == OLD else None)


@contextmanager
def temporary_folder(*, for_all: bool = False) -> Iterator[Path]:
    """Yields an empty private folder in the system's folder for temporary files, and deletes it at the end.

    That of a process that was killed is deleted by the next process that asks for one. With ``for_all`` the process
    makes all its temporary files in it meanwhile, also those of other libraries.
    """
    before, root = tempfile.tempdir, Path(tempfile.gettempdir())
    remove_leftovers(root)
    folder = (root / f"wordgaze.{NEW}-{owner()}").resolve()  # not hidden: Gradio serves no hidden files
    try:
        folder.mkdir(mode=0o700)
        if for_all:
            tempfile.tempdir = str(folder)
        yield folder
    finally:
        tempfile.tempdir = before
        delete(folder)


def delete(path: Path) -> None:
    """Deletes a file, a link or a folder with all it holds, as far as it can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _remove(path: Path, replaced: Path | None) -> None:
    if replaced is not None and not os.path.lexists(replaced):
        with suppress(OSError):
            path.rename(replaced)
    else:
        delete(path)


def _is_own(path: Path) -> bool:
    """Whether this user made it: in a folder that all may write, others could make files of such names."""
    return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()


@cache
def _machine() -> str:
    """Six hexadecimal digits for this machine, or this container, whose process ids are its own."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()}\n{namespace}".encode()).hexdigest()[:6]


def _started(process: int) -> int:
    """When a process started, in ticks since the machine did; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return 0
    return int(status.rpartition(b")")[2].split()[19])
