"""The process that decodes images for :mod:`wordgaze.vision.decoding_process`: requests on stdin, answers on stdout.

A request and an answer are a line of JSON and as many bytes as its ``length`` says: those of the image file, and those
of the decoded pixels, which are RGB in row-major order.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

from PIL import Image

from wordgaze.core.errors import ImageError, ResourceError
from wordgaze.vision.formats import UnreadFormatError
from wordgaze.vision.images import load_reduced

_BAND = 2**20
"""About as many bytes of pixels are sent at a time."""


def serve_decoding() -> None:
    """Answers requests until stdin ends, which is also when the other process has ended in any way."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is not an answer
    send(answers, {}, None)  # it is ready
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["length"])
        _limit_time(request["seconds"])
        _limit_memory(request["bytes"])
        head, picture = _decode(request, data)
        _limit_time(0)
        _limit_memory(None)
        send(answers, head, picture)


def send(answers: IO[bytes], head: dict[str, Any], picture: Image.Image | None) -> None:
    """Writes an answer."""
    answers.write(json.dumps(head).encode() + b"\n")
    if picture is not None:
        rows = max(_BAND // (3 * picture.width), 1)
        for top in range(0, picture.height, rows):
            answers.write(picture.crop((0, top, picture.width, min(top + rows, picture.height))).tobytes())
    answers.flush()


def receive(answers: IO[bytes], head: dict[str, Any]) -> Image.Image:
    """Reads the pixels of an answer. Raises EOFError if it ends too early."""
    width, height = head["width"], head["height"]
    picture, rows = Image.new("RGB", (width, height)), max(_BAND // (3 * width), 1)
    for top in range(0, height, rows):
        size = (width, min(rows, height - top))
        band = answers.read(3 * size[0] * size[1])
        if len(band) < 3 * size[0] * size[1]:
            raise EOFError
        picture.paste(Image.frombytes("RGB", size, band), (0, top))
    return picture


def _decode(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Image.Image | None]:
    source = Path(request["path"]) if request["path"] else data
    try:
        picture, size, kind = load_reduced(source, request["side"], request["name"])
    except (ImageError, ResourceError) as error:
        kinds = (UnreadFormatError, ResourceError)
        name = next((each.__name__ for each in kinds if isinstance(error, each)), ImageError.__name__)
        return {"error": name, "message": str(error)}, None
    return {"width": picture.width, "height": picture.height, "size": size, "format": kind}, picture


def _limit_time(seconds: float) -> None:
    """Ends this process after so many seconds of computing; 0 for never. It need not return to Python for that."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(num_bytes: int | None) -> None:
    """Limits the memory that this process can take from here on; None for no limit."""
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = hard if num_bytes is None else _address_space() + num_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    except (ImportError, OSError, ValueError):  # of another system than Linux
        return


def _address_space() -> int:
    """The bytes of addresses that are in use."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
