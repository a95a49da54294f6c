"""Work spread over threads, in order and with bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from wordgaze.core.interruption import check_interruption

T = TypeVar("T")
R = TypeVar("R")


def available_cpus() -> int:
    """The CPUs that this process may use, which can be fewer than the machine has (``taskset``, containers)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_ahead(function: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Generator[R, None, None]:
    """Yields ``function(item)`` in the order of ``items``, computed by ``threads`` threads.

    At most ``ahead`` results are computed before they are consumed, so memory stays bounded. An exception of
    ``function`` is raised where its result would have been yielded.
    """
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            check_interruption()
            if len(pending) == ahead:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            check_interruption()
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
