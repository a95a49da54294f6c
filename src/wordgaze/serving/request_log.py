"""A line for each request and for each caption, as JSON or as plain text; and the metrics of requests.

A line has no image data, no paths and no secrets. ``wordgaze watch`` reads the lines in JSON.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from wordgaze.core.printable import printable
from wordgaze.generation.outputs import Caption
from wordgaze.serving.server_metrics import ServerMetrics
from wordgaze.serving.web_guard import Application, Message, Receive, Scope, Send

LogFormat = Literal["json", "plain"]
RECORD = "wordgaze.request"
"""The key of the :class:`RequestRecord` in the state of an ASGI scope."""

QUIET_ROUTES = frozenset({"/health", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"})
"""Routes that are asked every few seconds; their requests are logged only if they fail."""

_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass
class RequestRecord:
    """What is known about a request: ``best`` are the best captions of its images, ``batch`` the size of the largest
    batch that they were in, ``error`` the sentence of an answer that refuses the request."""

    request_id: str
    images: int = 0
    batch: int = 0
    best: Sequence[Caption] = field(default=())
    error: str = ""


class RequestLog:
    """An ASGI middleware that gives each request an id, logs it and counts it.

    ``routes`` are the paths that have a name in the metrics; every other path counts as ``other``. The id is that of
    the header X-Request-ID, or a new one, and the answer has it.
    """

    def __init__(
        self,
        app: Application,
        routes: frozenset[str],
        metrics: ServerMetrics,
        write: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.app, self._routes, self._metrics, self._write = app, routes, metrics, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on the request, and logs it once it is answered or its sender has left."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = RequestRecord(_request_id(scope))
        scope.setdefault("state", {})[RECORD] = record
        status, started = 499, time.perf_counter()  # 499, as of nginx: the client left before there was an answer

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", record.request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with self._metrics.in_progress.track_inprogress():
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                self._finish(scope, record, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self._routes else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.duration.labels(route).observe(seconds)
        if route in QUIET_ROUTES and status < 400:
            return
        self._write(
            {
                "event": "request",
                "request_id": record.request_id,
                "method": scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else "other",
                "route": route,
                "status": status,
                "milliseconds": round(1000 * seconds, 1),
                "pictures": record.images,
                "batch": record.batch,
                **({"error": record.error} if record.error else {}),
            }
        )
        if status == 200:
            for caption in record.best:
                self._write(_caption_line(record, caption))


def log_writer(log_format: LogFormat) -> Callable[[Mapping[str, Any]], None]:
    """Writes lines to standard output; a line is lost where nobody reads it any more."""
    formatter = _json_line if log_format == "json" else _plain_line

    def write(values: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):
            print(formatter(values), file=sys.stdout, flush=True)

    return write


def _caption_line(record: RequestRecord, caption: Caption) -> dict[str, Any]:
    return {
        "event": "caption",
        "request_id": record.request_id,
        "caption": caption.text,
        "probability": caption.probability,
        "confidence": caption.confidence,
        **({} if caption.confidence is None else {"is_outlier": caption.is_outlier}),
    }


def _json_line(values: Mapping[str, Any]) -> str:
    return json.dumps({"time": _now(), **values}, allow_nan=False)


def _plain_line(values: Mapping[str, Any]) -> str:
    shown = " ".join(f"{name}={value!r}" if " " in str(value) else f"{name}={value}" for name, value in values.items())
    return printable(f"{_now()} {shown}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex
