"""Progress of long work on stderr: a bar on a terminal, a plain line at intervals elsewhere."""

import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wordgaze.core.interruption import check_interruption

INTERVAL = 5.0
"""Seconds between two plain lines; shorter work prints none."""

_is_hidden = False

T = TypeVar("T")
Report = Callable[[int, int | None], None]
"""Called with the amount done so far and the total, or None if the total is unknown."""


def hide() -> None:
    """Shows nothing from now on in this process, which does a part of the work of another."""
    global _is_hidden
    _is_hidden = True


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields ``items`` and shows how many are done. ``total`` is their number, if they have no length."""
    total = total if total is not None else operator.length_hint(items) or None
    with _shown(description, _count) as report:
        for done, item in enumerate(items, start=1):
            yield item
            check_interruption()
            report(done, total)


@contextmanager
def transfer(description: str) -> Iterator[Report]:
    """Yields a callback ``report(done, total)`` that counts bytes."""
    with _shown(description, decimal) as report:
        yield report


@contextmanager
def counter(description: str) -> Iterator[Report]:
    """Yields a callback ``report(done, total)`` that counts steps, for work that is not a loop over items."""
    with _shown(description, _count) as report:
        yield report


@contextmanager
def _shown(description: str, unit: Callable[[int], str]) -> Iterator[Report]:
    if _is_hidden:
        yield lambda done, total: None
    elif not sys.stderr.isatty():
        yield _Lines(description, unit)
    else:
        with _bar(description, unit) as report:
            yield report


@contextmanager
def _bar(description: str, unit: Callable[[int], str]) -> Iterator[Report]:
    size = DownloadColumn() if unit is decimal else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), size, TimeRemainingColumn())
    # Lines that are printed to the same terminal go above the bar; those to a file or a pipe must go there.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _count(number: int) -> str:
    return str(number)


class _Lines:
    """Prints a line every ``INTERVAL`` seconds, and one at the end if a line was printed before."""

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
