"""Folders for unfinished work, some of which several processes need at the same time."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from wordgaze.core import paths
from wordgaze.core.files import fingerprint


@contextmanager
def shared_scratch(name: str) -> Iterator[Path]:
    """Yields the scratch folder ``name`` for exclusive use; a second process waits until the first one has finished.

    If the block raises, the folder is kept, and the next run resumes from it. If the block succeeds, the folder is
    deleted, unless another process is waiting, which then finds all results and deletes the folder itself.
    """
    folder, locks = paths.scratch(name), paths.scratch("locks")
    locks.mkdir(parents=True, exist_ok=True)
    user = locks / f"{name}.{os.getpid()}"
    user.touch()
    try:
        with FileLock(locks / f"{name}.lock"):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
            user.unlink()
            if not any(_is_running(other.suffix[1:]) for other in locks.glob(f"{name}.*")):
                shutil.rmtree(folder)
    finally:
        user.unlink(missing_ok=True)


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


def _is_running(process: str) -> bool:
    """Whether a process with this id exists; False for a text that is not an id."""
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (ValueError, ProcessLookupError):
        return False
    return True
