"""The memory of this machine or container, and a budget of bytes that all threads share."""

import ctypes
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_FILES = (  # limit and use, of version 2 and of version 1
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
_UNKNOWN = 4 * 2**30  # bytes, where the system does not tell
_UNLIMITED = 2**63
_LEAST = 256 * 2**20  # bytes of a budget, so that work goes on, slowly, where memory is short
_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_TRIM_SECONDS = 30
_ONEDNN_CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


class MemoryBudget:
    """Limits the bytes that are in flight at the same time, over all threads.

    Requests are admitted in the order in which they come, so a large one does not wait for ever behind small ones. One
    that is larger than the whole ``limit`` is admitted when nothing else is in flight.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """The bytes in flight."""
        return self._used

    @contextmanager
    def reserve(self, num_bytes: int) -> Iterator[None]:
        """Waits until ``num_bytes`` fit, and holds them within the block. Blocks must not be nested."""
        share = min(num_bytes, self.limit)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and self._used + share <= self.limit)
                self._used += share
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()  # the next one may fit too
        try:
            yield
        finally:
            with self._changed:
                self._used -= share
                self._changed.notify_all()


def available_memory() -> int:
    """The bytes that this process can still take: those of the machine, or of its container if that has fewer."""
    return min(_of_machine(), *(_of_container(*names) for names in _CGROUP_FILES))


def machine_memory() -> int:
    """The bytes of memory of this machine, or of its container if that has fewer. It does not depend on what runs."""
    return min(_physical_memory(), *(_limit_of_container(limit) for limit, _ in _CGROUP_FILES))


@cache
def decoding_budget() -> MemoryBudget:
    """The budget of all pictures that are decoded at the same time: half of the memory that is available when the first
    one is decoded."""
    return MemoryBudget(max(available_memory() // 2, _LEAST))


def limit_native_memory() -> None:
    """Limits the memory that native libraries keep for later, for a program that answers requests for days.

    glibc gives each thread memory of its own to allocate from: two arenas are enough where one thread computes, and
    what is free in them goes back to the system twice a minute. oneDNN keeps 1,024 prepared operations, one for each
    layer and size of a batch: 256 are those of several sizes. The environment variables ``MALLOC_ARENA_MAX`` and
    ``ONEDNN_PRIMITIVE_CACHE_CAPACITY`` come first. It has to be called before other threads are started and before
    PyTorch computes.
    """
    os.environ.setdefault(_ONEDNN_CAPACITY, "256")
    try:
        library = ctypes.CDLL(None)
        set_option, trim = library.mallopt, library.malloc_trim
    except (OSError, TypeError, AttributeError):  # of another system, or of another C library
        return
    if "MALLOC_ARENA_MAX" not in os.environ:
        set_option(_ARENA_MAX, 2)
    threading.Thread(target=_trim_for_ever, args=(trim,), name="trim", daemon=True).start()


def _trim_for_ever(trim: Callable[[int], int]) -> None:
    while True:
        time.sleep(_TRIM_SECONDS)
        trim(0)


def _of_machine() -> int:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return _physical_memory()


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN


def _of_container(limit: str, use: str) -> int:
    """The rest of a control group's limit; a very large number without one."""
    try:
        return max(_limit_of_container(limit) - int((_CGROUP / use).read_text()), 0)
    except (OSError, ValueError):
        return _UNLIMITED


def _limit_of_container(limit: str) -> int:
    try:
        return int((_CGROUP / limit).read_text())
    except (OSError, ValueError):  # there is none, or it is "max"
        return _UNLIMITED
