"""The time that a request may take."""

import math
import time

from wordgaze.core.errors import RequestTimeoutError


class Deadline:
    """A point in time after which work for a request stops, and a switch that stops it earlier, from any thread.

    ``seconds`` is counted from now; infinity never ends by itself. :meth:`check` is called between two words of a
    search.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._is_cancelled = False

    @property
    def remaining(self) -> float:
        """The seconds that are left, at least 0."""
        return 0.0 if self._is_cancelled else max(0.0, self._end - time.monotonic())

    def cancel(self) -> None:
        """Stops the work at the next :meth:`check`."""
        self._is_cancelled = True

    def check(self) -> None:
        """Raises RequestTimeoutError once the time is over, or after :meth:`cancel`."""
        if self._is_cancelled:
            raise RequestTimeoutError("the request was cancelled")
        if time.monotonic() >= self._end:
            raise RequestTimeoutError(
                f"the request took longer than the {self._seconds:g} seconds allowed; send fewer images, or lower "
                "num_beams, num_return_sequences, mbr_samples or max_new_tokens"
            )
