"""Logging of the command line: the package's own records as plain lines on stderr."""

import logging
import sys

from wordgaze.core.printable import printable

LOGGER = "wordgaze"

_LEVELS = {-1: logging.ERROR, 0: logging.INFO, 1: logging.DEBUG}


def configure_logging(verbosity: int = 0) -> None:
    """Shows the records of the package's loggers on stderr, one line each.

    ``verbosity`` 0 shows information and warnings, 1 and above debug messages too, -1 and below errors only. Loggers
    of other libraries are left as they are, so they print warnings at most. Calling it again replaces the level.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel(_LEVELS[max(-1, min(verbosity, 1))])
    for handler in list(logger.handlers):
        if isinstance(handler, _StderrHandler):
            logger.removeHandler(handler)
    logger.addHandler(_StderrHandler())


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the current ``sys.stderr``, which a progress bar replaces while it is shown."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_OneLine())

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        self.stream = sys.stderr
        super().emit(record)


class _OneLine(logging.Formatter):
    """The level of a warning or an error and the message, cleaned, on one line; a traceback follows."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = printable(" ".join(record.getMessage().split()))
        if record.levelno >= logging.WARNING:
            message = f"{record.levelname.lower()}: {message}"
        return f"{message}\n{self.formatException(record.exc_info)}" if record.exc_info else message
