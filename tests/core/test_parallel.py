"""Threads work ahead, but only so far, and results keep their order."""

import os
import threading
import time

import pytest

from wordgaze.core.parallel import available_cpus, map_ahead


def test_results_come_in_order_and_from_several_threads() -> None:
    threads: set[str] = set()

    def work(number: int) -> int:
        threads.add(threading.current_thread().name)
        time.sleep(0.01 if number % 2 else 0.002)
        return number * 2

    assert list(map_ahead(work, range(20), threads=3, ahead=5)) == [2 * n for n in range(20)]
    assert len(threads) == 3
    assert list(map_ahead(work, [], threads=3, ahead=5)) == []


def test_only_so_many_results_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 14: a whole shard of pixels was decoded before the encoder took the first batch."""
    started: list[int] = []
    results = map_ahead(lambda n: started.append(n) or n, range(100), threads=2, ahead=4)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started) <= 5
    assert list(results) == list(range(1, 100))


def test_an_error_is_raised_in_its_place_and_ends_the_work() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        return 1 // (number - 3)

    results = map_ahead(work, range(1000), threads=1, ahead=4)
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(started) < 10


def test_the_cpus_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert available_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cpus() == 1
