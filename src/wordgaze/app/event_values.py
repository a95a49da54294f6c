"""What the page's own script sends with an event, checked: anybody may send anything in its place."""

import logging
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordgaze.core import paths
from wordgaze.core.errors import CaptionsError, ParamsError, ServiceError, WordgazeError
from wordgaze.core.printable import printable
from wordgaze.inference.request_cost import MAX_GIVEN_WORDS

MAX_TEXT = 2000
"""Of a caption that is given."""

MAX_WORD = 100
"""Characters of a word of a caption that is given as a list."""

FILE_KINDS = ("strip", "gif", "json")
"""The files of a caption."""

_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:(?:/[^/\s'\"()]+)+/|[A-Za-z]:\\(?:[^\\\s]+\\)*)(?=[^/\s])")
_MAX_MESSAGE = 1000  # characters

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewEvent:
    """An event of the view: the number that its answer bears, and what it is about; "" and () for what was not sent."""

    ticket: int
    model: str
    words: tuple[str, ...]
    kind: str
    caption: str
    text: str


def read_ticket(data: Any) -> int:
    """The number of an event, 0 where it has none."""
    ticket = data.get("ticket") if isinstance(data, Mapping) else None
    return ticket if isinstance(ticket, int) and abs(ticket) < 2**53 else 0


def read_event(data: Any) -> ViewEvent:
    """The values of an event of the view. Raises ParamsError and CaptionsError for values of the wrong type or size."""
    if not isinstance(data, Mapping):
        raise ParamsError("the event has no values; reload the page")
    words = data.get("words", ())
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise CaptionsError("words is not a list of words; reload the page")
    if len(words) > MAX_GIVEN_WORDS or any(len(word) > MAX_WORD for word in words):
        raise CaptionsError(
            f"the caption has more than the {MAX_GIVEN_WORDS} words of {MAX_WORD} characters allowed; shorten it"
        )
    kind = data.get("kind", "")
    if kind not in ("", *FILE_KINDS):
        raise ParamsError(f"there is no file of this kind; choose one of {', '.join(FILE_KINDS)}")
    model, caption, text = (read_text(data.get(name, ""), name) for name in ("model", "caption", "text"))
    return ViewEvent(read_ticket(data), model, tuple(words), kind, caption, text)


def read_text(value: Any, name: str) -> str:
    """A text that a client sent. Raises CaptionsError."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise CaptionsError(f"{name} is not a text of at most {MAX_TEXT} characters; give its words")
    return value


def log_failure(error: BaseException) -> None:
    """One line in the log about an error, without its message, which may repeat what a client sent."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("a request failed: %s in %s, line %s", type(error).__name__, where.name, where.lineno)
    _log.debug("its traceback", exc_info=error)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raises ServiceError for what is not an error of wordgaze, and writes one line about it to the log.

    Neither line repeats what a client sent or names a folder; ``--verbose`` logs the traceback.
    """
    try:
        yield
    except WordgazeError:
        raise
    except Exception as error:
        log_failure(error)
        raise ServiceError("the page failed on this request; its operator finds more in the log") from error


def shown_error(error: WordgazeError) -> str:
    """The message of an error for a client: it names files, but not the folders of this machine."""
    text = str(error)
    for folder in (paths.home(), Path(tempfile.gettempdir()), Path(sys.prefix), Path.home()):
        text = text.replace(f"{folder}/", "")
    return printable(_FOLDERS.sub("", text))[:_MAX_MESSAGE]
