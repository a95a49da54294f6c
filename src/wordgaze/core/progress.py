"""How far long work has come: a bar where a person watches, a plain line now and then where a log is kept."""

import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL = 5.0
"""Seconds between two plain lines; what is done sooner prints none."""

T = TypeVar("T")
Report = Callable[[int, int | None], None]
"""Is told what is done so far and the total, or None where the total is not known."""


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Gives ``items`` on, and shows on stderr how many are done. ``total`` is needed where they have no length."""
    total = total if total is not None else operator.length_hint(items) or None
    with _shown(description, _count) as report:
        for done, item in enumerate(items, start=1):
            yield item
            report(done, total)


@contextmanager
def transfer(description: str) -> Iterator[Report]:
    """Yields a report of bytes, for ``fetch`` and ``unpack``: ``report(done, total)``."""
    with _shown(description, decimal) as report:
        yield report


@contextmanager
def counter(description: str) -> Iterator[Report]:
    """Yields a report of steps, for work that is no loop over items here: ``report(done, total)``."""
    with _shown(description, _count) as report:
        yield report


@contextmanager
def _shown(description: str, unit: Callable[[int], str]) -> Iterator[Report]:
    if not sys.stderr.isatty():
        yield _Lines(description, unit)
        return
    size = DownloadColumn() if unit is decimal else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), size, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _count(number: int) -> str:
    return str(number)


class _Lines:
    """Prints a line every ``INTERVAL`` seconds, and one at the end of work that took longer than that."""

    def __init__(self, description: str, unit: Callable[[int], str]) -> None:
        self._description = description
        self._unit = unit
        self._last = time.monotonic()
        self._printed = False

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last < INTERVAL and not (self._printed and done == total):
            return
        self._last, self._printed = now, True
        of = f"{done / total:.0%} of {self._unit(total)}" if total else self._unit(done)
        print(f"{self._description}: {of}", file=sys.stderr, flush=True)
