"""Folders for unfinished work, some of which several processes need at the same time."""

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.files import fingerprint
from wordgaze.core.leftovers import is_abandoned, owner

_log = logging.getLogger(__name__)


@contextmanager
def shared_scratch(name: str) -> Iterator[Path]:
    """Yields the scratch folder ``name`` for exclusive use; a second process says so and waits for the first one's end.

    If the block raises, the folder is kept, and the next run resumes from it. If the block succeeds, the folder is
    deleted, unless another process is waiting, which then finds all results and deletes the folder itself.
    """
    folder, locks = paths.scratch(name), paths.scratch("locks")
    locks.mkdir(parents=True, exist_ok=True)
    user = locks / f"{name}.{owner()}"
    user.touch()
    try:
        with _waited_for(FileLock(locks / f"{name}.lock"), folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
            user.unlink()
            if not _waiting(locks, name):
                shutil.rmtree(folder)
    finally:
        user.unlink(missing_ok=True)


@contextmanager
def exclusive(name: str, work: str) -> Iterator[None]:
    """Keeps other processes from doing the same in this working directory; ``work`` names it in the message.

    Raises DataError if another process is at it. The lock of a process that was killed is free.
    """
    path = paths.scratch("locks") / f"{name}-{fingerprint(str(Path.cwd()))}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(f"another process runs {work} in {Path.cwd()}; wait for its end, or end it") from error
    try:
        yield
    finally:
        lock.release()


def writable_scratch(name: str) -> Path:
    """The path ``name`` in the scratch folder; in a project that cannot be written, in a private temporary folder.

    The folder exists afterwards, ``name`` need not. Raises OSError if another user owns the temporary folder.
    """
    path = paths.scratch(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.access(path.parent, os.W_OK):
            return path
    except OSError:
        pass
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"wordgaze-{user}-{fingerprint(str(paths.home()))}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != user:  # anybody may make a folder of this name
        raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
    return folder / name


@contextmanager
def _waited_for(lock: FileLock, folder: Path) -> Iterator[None]:
    """Holds the lock, for which it may wait for hours."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _log.info("another process computes the same, in %s; waits for its end", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _waiting(locks: Path, name: str) -> bool:
    """Whether another process waits for the scratch folder. The names of processes that were killed are removed."""
    waiting = False
    for user in locks.glob(f"{name}.*-*"):
        if is_abandoned(user.suffix[1:], user):
            user.unlink(missing_ok=True)
        else:
            waiting = True
    return waiting
