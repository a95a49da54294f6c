"""The HTTP server of a captioner."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from wordgaze.core.network import listen
from wordgaze.serving.application import CaptionServer, ServeSettings, build_application
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.web_guard import guard_settings, warnings_of

HEADER_SECONDS = 15.0
"""The time in which a client must send the headers of a request, from the connection or from the answer before."""

_SPARE_SECONDS = 5.0  # for what accepted requests need beyond their time


def serve(
    model: str,
    host: str,
    port: int,
    settings: ServeSettings,
    ready: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Serves a captioner folder, ``photos``, or an address of the registry, until SIGINT or SIGTERM.

    ``warn`` is called with each line that the operator should know, and ``ready`` with the server's address once it
    answers; port 0 takes a free one. Requests that were accepted before the signal are finished. Raises TrackingError
    for a model or an address that is not available, ModelError for a folder without a captioner, and ParamsError for
    wrong environment variables.
    """
    with listen(host, port) as listening:
        bound = listening.getsockname()[1]
        guard = guard_settings(host, bound)
        for line in warnings_of(host, guard):
            warn(line)
        server = CaptionServer(ServedModel.load(model), settings)
        config = uvicorn.Config(
            build_application(server, guard),
            http=PatientProtocol,
            ws="none",
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=int(settings.request_timeout + _SPARE_SECONDS),
        )
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{bound}")
        with _ended_by_signals():
            _Server(config, server).run(sockets=[listening])


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """uvicorn raises the signal that ended it again, once all requests are answered; then it means nothing more."""
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class PatientProtocol(H11Protocol):
    """Closes connections whose client does not send the headers of a request in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time of the first request."""
        super().connection_made(transport)
        self._expect_headers()

    def on_response_complete(self) -> None:
        """Starts the time of the next request."""
        super().on_response_complete()
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the time."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self._close_if_idle, self.cycle)

    def _close_if_idle(self, cycle: Any) -> None:
        if self.cycle is cycle and (cycle is None or cycle.response_complete):  # no request has begun since
            self.transport.close()


class _Server(uvicorn.Server):
    """Says at once that it stops, so that ``/ready`` does."""

    def __init__(self, config: uvicorn.Config, server: CaptionServer) -> None:
        super().__init__(config)
        self._captions = server

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Called on SIGINT and SIGTERM."""
        self._captions.is_stopping = True
        super().handle_exit(signal.Signals(sig), frame)
