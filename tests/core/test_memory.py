"""Bytes in flight over all threads, and the memory of a machine or container."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core import memory
from wordgaze.core.memory import MemoryBudget, available_memory, decoding_budget


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.integers(1, 200))
def test_the_bytes_in_flight_never_exceed_the_limit(sizes: list[int], limit: int) -> None:
    budget, seen = MemoryBudget(limit), []

    def work(size: int) -> None:
        with budget.reserve(size):
            seen.append(budget.used)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, sizes))
    assert max(seen) <= limit
    assert budget.used == 0


def test_a_large_request_is_not_passed_by_small_ones() -> None:
    budget, order = MemoryBudget(10), []

    @contextmanager
    def reserved(size: int, name: str) -> Iterator[None]:
        with budget.reserve(size):
            order.append(name)
            yield

    def work(size: int, name: str) -> None:
        with reserved(size, name):
            pass

    with reserved(5, "first"):
        threads = [threading.Thread(target=work, args=each) for each in ((10, "large"), (1, "small"))]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == ["first"]
    for thread in threads:
        thread.join()
    assert order == ["first", "large", "small"]


def test_a_block_that_fails_gives_its_bytes_back() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="x"), budget.reserve(7):
        raise ValueError("x")
    assert budget.used == 0


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < available_memory() < 2**60
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert available_memory() == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() > 2**20


def test_the_memory_of_other_systems_is_that_of_the_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert available_memory() > 2**20
    monkeypatch.delattr(memory.os, "sysconf")
    assert memory._physical_memory() == memory._UNKNOWN


def test_all_pictures_share_one_budget() -> None:
    assert decoding_budget() is decoding_budget()


ARENAS = """
import ctypes, os, sys, tempfile, threading
if sys.argv[1] == "limited":
    from wordgaze.core.memory import limit_native_memory
    limit_native_memory()
held, barrier = [], threading.Barrier(9)
def allocate():
    held.append([bytes(100_000) for _ in range(10)])
    barrier.wait()
for _ in range(8):
    threading.Thread(target=allocate).start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap "))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the arenas are those of glibc")
def test_threads_share_two_arenas_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)

    def arenas(how: str) -> int:
        command = [sys.executable, "-c", ARENAS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert arenas("limited") <= 2 < arenas("unlimited")
