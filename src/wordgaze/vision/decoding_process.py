"""Decoding of images that are not trusted, with a limit of time and memory.

Ordinary images are decoded in this process. Those whose header says that they are heavy, and those of rare formats,
are decoded in a process of their own, which is ended when it exceeds a limit; it takes no lock, and no library that
crashes there takes this process with it. The processes are started when they are needed, one for each CPU at most, and
are used again.
"""

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from threading import Timer
from typing import IO, Any

from PIL import Image

from wordgaze.core.errors import ImageError, ResourceError
from wordgaze.core.memory import decoding_budget
from wordgaze.core.parallel import available_cpus
from wordgaze.vision.decoding_worker import receive
from wordgaze.vision.formats import UnreadFormatError
from wordgaze.vision.images import HeavyImageError, ReducedImage, load_reduced

MAX_SECONDS = 10.0
"""Seconds of computing that an image may take, whatever else the machine does."""

MAX_BYTES_OF_MEMORY = 2**30
"""Bytes of memory that decoding an image may take."""

_WAIT = 12
"""A process that has not answered after so many times the seconds is ended: it hangs, or the machine stands still."""

_ERRORS = {error.__name__: error for error in (ImageError, UnreadFormatError)}
_log = logging.getLogger(__name__)


def decode_safely(
    source: Path | bytes, *, max_seconds: float = MAX_SECONDS, max_bytes: int = MAX_BYTES_OF_MEMORY
) -> Image.Image:
    """Decodes an image as :func:`wordgaze.vision.images.load_image` does, with the same pixels.

    Args:
        source: the path of a file, or its bytes.
        max_seconds: seconds of computing, for an image that is heavy.
        max_bytes: bytes of memory, for an image that is heavy.

    Raises ImageError like ``load_image``, and for an image that exceeds a limit. Raises ResourceError if the machine
    lacks the memory for an image that keeps to the limits.
    """
    name = str(source) if isinstance(source, Path) else "the picture"
    return decode_reduced(source, None, name, max_seconds=max_seconds, max_bytes=max_bytes).picture


def decode_reduced(
    source: Path | bytes,
    side: int | None,
    name: str,
    *,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES_OF_MEMORY,
) -> ReducedImage:
    """As :func:`decode_safely`, for thumbnails and statistics: see :func:`wordgaze.vision.images.load_reduced`."""
    try:
        return load_reduced(source, side, name, only_light=True)
    except HeavyImageError:
        pass
    request = {"side": side, "name": name, "seconds": max_seconds, "bytes": max_bytes}
    with decoding_budget().reserve(max_bytes):
        answer = _processes().ask(source, request)
    if answer is None:  # no process can be made
        return load_reduced(source, side, name)
    return answer


class _DecodingProcess:
    """A process that decodes one image at a time."""

    def __init__(self) -> None:
        # Not multiprocessing, whose processes run the program's main module again.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; import wordgaze.vision.decoding_worker as w; w.serve_decoding()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the program, which ends this process
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        self._read_head()

    @property
    def runs(self) -> bool:
        """Whether it can be asked again."""
        return self._process.poll() is None

    def ask(self, source: Path | bytes, request: dict[str, Any]) -> ReducedImage:
        """The decoded image. Raises ImageError and ResourceError like :func:`decode_safely`."""
        data = b"" if isinstance(source, Path) else source
        path = str(source.absolute()) if isinstance(source, Path) else ""
        watch = Timer(_WAIT * request["seconds"], self._process.kill)
        watch.start()
        try:
            self._requests.write(json.dumps({**request, "path": path, "length": len(data)}).encode() + b"\n" + data)
            self._requests.flush()
            head = self._read_head()
            if "error" not in head:
                return ReducedImage(receive(self._answers, head), tuple(head["size"]), head["format"])
        except (EOFError, BrokenPipeError):
            raise self._ended(request, not watch.is_alive()) from None
        finally:
            watch.cancel()
        if head["error"] == ResourceError.__name__:
            raise _too_much(request)
        raise _ERRORS[head["error"]](head["message"])

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._answers.close()

    def _read_head(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        head: dict[str, Any] = json.loads(line)
        return head

    def _ended(self, request: dict[str, Any], is_late: bool) -> ImageError | ResourceError:
        """Why there is no answer."""
        code, name = -self._process.wait(), request["name"]
        if code == signal.SIGPROF or is_late:
            seconds = f"{request['seconds']:g} seconds"
            return ImageError(f"{name}: takes more than {seconds} to decode; make it smaller, or save it again")
        if code in (signal.SIGKILL, signal.SIGTERM):  # by the system, for lack of memory, or by somebody
            return ResourceError(
                f"{name}: the process that decodes it was ended from outside; free memory, and try again"
            )
        return ImageError(f"{name}: is broken (its decoder crashes); replace or remove it")


class _DecodingProcesses:
    """The processes that are idle, and how many more can be made."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(available_cpus())
        self._idle: list[_DecodingProcess] = []
        self._owner = os.getpid()
        self._can_start = True
        atexit.register(self.end)

    def ask(self, source: Path | bytes, request: dict[str, Any]) -> ReducedImage | None:
        """The decoded image; None if this system makes no processes."""
        with self._slots:
            process = self._take()
            if process is None:
                return None
            try:
                return process.ask(source, request)
            except BaseException as error:
                if not isinstance(error, ImageError | ResourceError):  # an interrupt: an answer may be under way
                    process.end()
                raise
            finally:
                if process.runs:
                    self._idle.append(process)
                else:
                    process.end()

    def end(self) -> None:
        """Ends the idle processes; those that decode end when this process does."""
        while self._idle and self._owner == os.getpid():
            self._idle.pop().end()

    def _take(self) -> _DecodingProcess | None:
        while self._idle:  # a list is safe between threads
            try:
                process = self._idle.pop()
            except IndexError:  # another thread was first
                break
            if process.runs:
                return process
            process.end()
        if not self._can_start:
            return None
        try:
            return _DecodingProcess()
        except (OSError, EOFError) as error:
            self._can_start = False
            _log.warning("large images are decoded without limits: no process can be started (%s)", error)
            return None


@cache
def _pool_of(process_id: int) -> _DecodingProcesses:
    return _DecodingProcesses()


def _processes() -> _DecodingProcesses:
    """Those of this process: one that was forked from another cannot use the other's."""
    return _pool_of(os.getpid())


def _too_much(request: dict[str, Any]) -> ImageError:
    return ImageError(f"{request['name']}: needs more than {request['bytes'] >> 20} MB to decode; make it smaller")
