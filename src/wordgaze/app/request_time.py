"""The time that a request to the page may take, and its end where the client has left."""

from contextvars import ContextVar

from wordgaze.inference.deadline import Deadline

REQUEST_SECONDS = 120.0
"""From the start of the work, the wait for the captioner included."""

_of_request: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def begin_request() -> Deadline:
    """The deadline of the request that this task answers; :func:`current_deadline` finds it in its threads."""
    deadline = Deadline(REQUEST_SECONDS)
    _of_request.set(deadline)
    return deadline


def current_deadline() -> Deadline:
    """The deadline of the request that is answered, or a new one."""
    return _of_request.get() or Deadline(REQUEST_SECONDS)
