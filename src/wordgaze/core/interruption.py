"""How a process ends when somebody asks: Ctrl-C, and SIGTERM, which ``kill``, ``docker stop`` and schedulers send."""

import signal
import time
from types import FrameType
from typing import Any

_PAUSE = 1.0  # seconds: a terminal, a container and the parent process may each send the same signal

_signals: dict[str, float] = {}  # name of a signal and when it came
_handlers: dict[int, Any] = {}  # those that were there before


class Terminated(KeyboardInterrupt):
    """SIGTERM. It unwinds as Ctrl-C does: what handles KeyboardInterrupt, and cleans up after it, handles it too."""


def handle_termination() -> None:
    """Raises Terminated in the main thread on SIGTERM and KeyboardInterrupt on SIGINT, and remembers the signal.

    A signal that the parent process has set to be ignored, such as SIGINT in a shell's background job, stays ignored.
    The same signal again within a second is ignored, so that the first one can clean up. Call it in the main thread.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) not in (signal.SIG_IGN, _raise):
            _handlers[number] = signal.signal(number, _raise)


def check_interruption() -> None:
    """Raises the exception of a signal that has come already, in case that it was swallowed.

    Python raises it wherever the main thread is. In a callback that C code calls, in a finaliser or at the end of an
    import it is printed as "ignored" at most, and the work would go on. Long loops and writes of results call this.
    """
    if _signals:
        raise _exception(next(iter(_signals)))


def exit_status(status: int) -> int:
    """143 if SIGTERM has ended the process, 130 if SIGINT has, else ``status``."""
    return 128 + signal.Signals[next(iter(_signals))] if _signals else status


def release_termination() -> None:
    """Ends what :func:`handle_termination` began, and forgets the signals that came."""
    while _handlers:
        signal.signal(*_handlers.popitem())
    _signals.clear()


def _raise(number: int, frame: FrameType | None) -> None:
    name, now = signal.Signals(number).name, time.monotonic()
    before = _signals.get(name)
    _signals[name] = now
    if before is None or now - before > _PAUSE:
        raise _exception(name)


def _exception(name: str) -> KeyboardInterrupt:
    return Terminated(name) if name == "SIGTERM" else KeyboardInterrupt(name)
