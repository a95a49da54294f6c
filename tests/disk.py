"""A disk that is full, and a folder that nobody may write."""

import ctypes
import errno
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes, which the system tells as it tells that the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:  # before pytest goes on to write its own log
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in ``folder`` can be written, except by root; see :func:`obey_permissions`."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def obey_permissions() -> None:
    """As ``preexec_fn`` of a subprocess: root has to obey the permissions of files there, as any other user."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE; fails for others, who need it not


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """``folder`` is a file system of its own of ``size`` bytes; only root can make one. Raises OSError for others."""
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def resize(folder: Path, size: int) -> None:
    """Gives the file system of :func:`small_disk` another size."""
    _mount("-o", f"remount,size={size}", str(folder))


@contextmanager
def read_only_disk(folder: Path) -> Iterator[None]:
    """``folder`` is on a disk that nobody can write, not even root, who alone can make one."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(errno.EPERM, done.stderr.strip() or "mount failed")
