"""Shards at an address of fsspec, such as ``s3://bucket/features``, and a bounded cache of them on the disk.

An object has the SHA-256 checksum of its contents as its name. A name never stands for other contents, so that data
sets, formats and experiments share an address, what is there is not written again, and the cache is never out of date.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wordgaze.core.environment import positive_number
from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.files import atomic_write, sha256
from wordgaze.core.printable import reason_of
from wordgaze.core.storage import AccessError, file_system, retried

CACHE_GB = 20.0
"""The gigabytes of shards that are kept on the disk, unless WORDGAZE_FEATURE_CACHE_GB says others."""

_SUFFIX = ".safetensors"
_NEWEST = 16  # files that the cache keeps, however large they are: threads may be about to open them


class ShardObjects:
    """The objects below an address. They are opened on first use, so it can be pickled."""

    def __init__(self, address: str) -> None:
        from wordgaze.core.scratch import writable_scratch  # whose lock a captioner alone does not need

        self.address = address.rstrip("/")
        self.cache = writable_scratch("feature-cache")

    def fetch(self, checksum: str) -> Path:
        """The file of an object in the cache, which is read from the address if it is not there; the files that were
        not used for longest make room for it.

        Raises DataError if the object is missing or damaged, or cannot be read after several attempts.
        """
        from filelock import FileLock

        path = self.cache / f"{checksum}{_SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / f"{checksum[:2]}.lock"):  # the ranks of a machine read the same ones
            with suppress(FileNotFoundError):
                os.utime(path)
                return path
            with atomic_write(path) as temporary:
                self._read(checksum, temporary)
                temporary.chmod(0o444)
        self._make_room()
        return path

    def has(self, checksum: str) -> bool:
        """Whether an object is in the cache."""
        return (self.cache / f"{checksum}{_SUFFIX}").exists()

    def discard(self, checksum: str) -> None:
        """Removes an object from the cache, where it was damaged."""
        (self.cache / f"{checksum}{_SUFFIX}").unlink(missing_ok=True)

    def store(self, path: Path, checksum: str) -> None:
        """Writes a file to the address, unless it is there, and keeps it in the cache.

        Raises DataError if it cannot be written after several attempts.
        """
        files, place = self._place(checksum)
        size = path.stat().st_size  # a write that was interrupted leaves less with some file systems

        def put() -> None:
            try:
                is_there = files.info(place)["size"] == size
            except FileNotFoundError:
                is_there = False
            if not is_there:
                files.put_file(str(path), place)

        self._attempt("written", checksum, put)
        self.cache.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # it is there, or the file system has no links
            os.link(path, self.cache / f"{checksum}{_SUFFIX}")
        self._make_room()

    def _read(self, checksum: str, path: Path) -> None:
        files, place = self._place(checksum)
        self._attempt("read", checksum, lambda: files.get_file(place, str(path)))
        if (actual := sha256(path)) != checksum:
            raise DataError(
                f"{self._name(checksum)} is damaged: its SHA-256 is {actual[:12]}…; delete it there, and run dvc repro"
                " -f -s features, which writes it again"
            )

    def _attempt(self, done: str, checksum: str, work: Callable[[], object]) -> None:
        """Raises DataError if ``work`` fails as often as it may, or for a reason that will not pass."""
        try:
            retried(work, self._name(checksum))
        except AccessError as error:
            remedy = "check the address, the network and your permissions, and start it again"
            if error.kind == "missing" and done == "written":
                remedy = "make the bucket or the folder first, or check the address"
            elif error.kind == "missing":
                remedy = "run dvc repro -f -s features, which writes it again, or check the address"
            cause = error.__cause__
            reason = reason_of(cause if isinstance(cause, Exception) else error)
            raise DataError(f"{self._name(checksum)} cannot be {done} ({_short(reason)}); {remedy}") from error

    def _name(self, checksum: str) -> str:
        return f"{self.address}/{checksum}{_SUFFIX}"

    def _place(self, checksum: str) -> tuple[Any, str]:
        """The file system of the address, and the path of an object in it."""
        try:
            return file_system(self._name(checksum))
        except DataError as error:
            raise ParamsError(f"features.address: {error}") from error

    def _make_room(self) -> None:
        """Deletes the files that were not used for longest until the others are within the limit."""
        limit, found = cache_bytes(), []
        for path in self.cache.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # another process has deleted it
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found)[:-_NEWEST]:
            if total <= limit:
                return
            path.unlink(missing_ok=True)
            total -= size


def cache_bytes() -> int:
    """The bytes of shards that the cache may hold."""
    return int(min(positive_number("WORDGAZE_FEATURE_CACHE_GB", CACHE_GB, "gigabytes") * 1e9, sys.maxsize))


def _short(reason: str) -> str:
    return reason if len(reason) <= 200 else f"{reason[:199]}…"
