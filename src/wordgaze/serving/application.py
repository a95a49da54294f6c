"""The HTTP server's application: its routes, and what each of them answers."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from wordgaze.core.errors import RequestTimeoutError, ResourceError, ServerBusyError, WordgazeError
from wordgaze.inference.deadline import Deadline
from wordgaze.inference.predictions import to_prediction
from wordgaze.serving.caption_requests import CaptionRequests, RequestSettings
from wordgaze.serving.micro_batching import MicroBatcher
from wordgaze.serving.open_inference import inference_response, model_metadata, parse_inference
from wordgaze.serving.request_log import RECORD, LogFormat, RequestLog, RequestRecord, log_writer
from wordgaze.serving.scoring_protocol import parse_invocation, read_request
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.server_metrics import ServerMetrics
from wordgaze.serving.telemetry import batch_observer, open_telemetry
from wordgaze.serving.web_guard import RETRY_SECONDS, GuardSettings, WebGuard

MAX_REQUEST = 96 * 2**20
"""Bytes of a request: an image of the largest size as base64, or many ordinary ones."""

MAX_HELD = 384 * 2**20
"""Bytes of all requests whose images are not decoded yet; a request beyond it is refused."""

V2_NAME = "captioner"
"""The model's name in the Open Inference Protocol."""

MAX_SENTENCE = 600
"""Characters of an answer that refuses a request, which may name a value that was sent."""

OPEN_PATHS = frozenset({"/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
"""The routes that need no password, for those who watch whether the server lives."""

_STATUS: tuple[tuple[type[WordgazeError], int, str], ...] = (
    (RequestTimeoutError, 504, "DEADLINE_EXCEEDED"),
    (ServerBusyError, 503, "TEMPORARILY_UNAVAILABLE"),
    (ResourceError, 503, "TEMPORARILY_UNAVAILABLE"),
    (WordgazeError, 400, "INVALID_PARAMETER_VALUE"),
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeSettings:
    """How a server answers.

    ``request_timeout`` is in seconds; ``max_queue`` is the number of images in progress from which on requests are
    refused; ``max_batch`` and ``max_wait`` (seconds) are those of :class:`MicroBatcher`, and ``max_batch`` 1
    turns it off.
    """

    request_timeout: float = 60.0
    max_queue: int = 256
    max_batch: int = 16
    max_wait: float = 0.005
    log_format: LogFormat = "plain"
    paths_allowed: bool = False


class CaptionServer:
    """The state behind the routes. ``is_stopping`` makes ``/ready`` say no."""

    def __init__(self, model: ServedModel, settings: ServeSettings) -> None:
        from wordgaze import __version__

        self.model, self.settings, self.version = model, settings, __version__
        self.is_stopping = False
        self.metrics = ServerMetrics(model, __version__, lambda: self._batcher.num_waiting)
        self.telemetry = open_telemetry()
        observed = batch_observer(self.telemetry, self.metrics)
        self._batcher = MicroBatcher(model.captioner, settings.max_batch, settings.max_wait, observed)
        self.requests = CaptionRequests(model, self._batcher, settings.max_queue, settings.paths_allowed)
        self._num_held = 0  # bytes

    @asynccontextmanager
    async def run(self, app: FastAPI) -> AsyncIterator[None]:
        """The lifespan of the application. All requests are answered before it ends."""
        batches = asyncio.create_task(self._batcher.run())
        yield
        batches.cancel()
        with suppress(asyncio.CancelledError):
            await batches
        self._batcher.close()
        self.requests.close()
        if self.telemetry:
            self.telemetry.close()

    async def health(self) -> Response:
        """Whether the process answers."""
        return _json({"status": "alive"})

    async def ready(self) -> Response:
        """Whether a request would be accepted."""
        reason = "stopping" if self.is_stopping else "full" if self.requests.is_full else ""
        if reason:
            return _json({"status": reason}, 503, {"Retry-After": str(RETRY_SECONDS)})
        return _json({"status": "ready"})

    async def ping(self) -> Response:
        """As MLflow's server answers."""
        return Response("\n", media_type="application/json")

    async def about(self) -> Response:
        """The versions of wordgaze and of the model."""
        model = {"name": self.model.name, "version": self.model.version, "weights": self.model.weights}
        return _json({"wordgaze": self.version, "model": model})

    async def read_metrics(self) -> Response:
        """For Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def invocations(self, request: Request) -> Response:
        """MLflow's protocol."""

        async def answer(body: bytes, deadline: Deadline, record: RequestRecord) -> Response:
            images, params = await asyncio.to_thread(lambda: parse_invocation(read_request(body)))
            settings = RequestSettings.parse(params, self.model.generation)
            found = await self.requests.caption(images, settings, deadline, record)
            several = settings.config.num_return_sequences > 1
            rows = [to_prediction(captions, settings.attention, several) for captions in found]
            return _json({"predictions": rows})

        return await self._answer(request, answer)

    async def infer(self, request: Request) -> Response:
        """The Open Inference Protocol."""

        async def answer(body: bytes, deadline: Deadline, record: RequestRecord) -> Response:
            document = await asyncio.to_thread(read_request, body)
            images, params = parse_inference(document)
            settings = RequestSettings.parse(params, self.model.generation)
            found = await self.requests.caption(images, settings, deadline, record)
            return _json(inference_response(document, V2_NAME, self.model.version, found))

        return await self._answer(request, answer)

    async def describe(self) -> Response:
        """The model of the Open Inference Protocol."""
        return _json(model_metadata(V2_NAME, self.model.version))

    async def _answer(
        self, request: Request, answer: Callable[[bytes, Deadline, RequestRecord], Awaitable[Response]]
    ) -> Response:
        """What ``answer`` makes of the body, or one sentence; it stops once its time is over or the client leaves."""
        record: RequestRecord = request.scope["state"][RECORD]
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refusal(record, 415, "BAD_REQUEST", "send JSON, with the header Content-Type: application/json")
        try:
            self.requests.check_queue()
            body = await self._read(request)
        except ServerBusyError as error:
            return _failure(record, error)
        except ClientDisconnect:
            return Response(status_code=499)
        try:
            return await self._in_time(request, answer, body, record)
        finally:
            self._num_held -= len(body)

    async def _read(self, request: Request) -> bytes:
        """The body, counted. Raises ServerBusyError."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                self._num_held += len(chunk)
                body += chunk
                if self._num_held > MAX_HELD:
                    raise ServerBusyError("the server holds too many requests; send this again later")
        except BaseException:
            self._num_held -= len(body)
            raise
        return bytes(body)

    async def _in_time(
        self,
        request: Request,
        answer: Callable[[bytes, Deadline, RequestRecord], Awaitable[Response]],
        body: bytes,
        record: RequestRecord,
    ) -> Response:
        deadline = Deadline(self.settings.request_timeout)
        work = asyncio.ensure_future(answer(body, deadline, record))
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            await asyncio.wait({work, gone}, timeout=deadline.remaining, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                if gone.done():
                    return Response(status_code=499)
                deadline.check()
            response = await work
            self.metrics.observe_captions(record.best)
        except WordgazeError as error:
            return _failure(record, error)
        except Exception:
            _log.exception("a request failed")
            return _refusal(record, 500, "INTERNAL_ERROR", "the captioner failed; see the server's log")
        else:
            return response
        finally:
            deadline.cancel()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


def build_application(server: CaptionServer, guard: GuardSettings) -> FastAPI:
    """The application of a server, behind its guard and its log."""
    app = FastAPI(openapi_url=None, lifespan=server.run)
    model = f"/v2/models/{V2_NAME}"
    gets: dict[str, Callable[..., Any]] = {
        "/ping": server.ping,
        "/health": server.health,
        "/ready": server.ready,
        "/version": server.about,
        "/metrics": server.read_metrics,
        "/v2/health/live": server.health,
        "/v2/health/ready": server.ready,
        f"{model}/ready": server.ready,
        model: server.describe,
    }
    posts: dict[str, Callable[..., Any]] = {"/invocations": server.invocations, f"{model}/infer": server.infer}
    for methods, endpoints in ((["GET", "HEAD"], gets), (["POST"], posts)):
        for path, endpoint in endpoints.items():
            app.add_api_route(path, endpoint, methods=methods)
    app.add_middleware(WebGuard, settings=replace(guard, max_body=MAX_REQUEST, open_paths=OPEN_PATHS))
    app.add_middleware(
        RequestLog,
        routes=frozenset({*gets, *posts}),
        metrics=server.metrics,
        write=log_writer(server.settings.log_format),
    )
    if server.telemetry:
        server.telemetry.trace(app)
    return app


async def _until_gone(request: Request) -> None:
    """Ends once the client has closed the connection. The body was read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _failure(record: RequestRecord, error: WordgazeError) -> Response:
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
    return _refusal(record, status, code, str(error))


def _refusal(record: RequestRecord, status: int, code: str, sentence: str) -> Response:
    record.error = sentence = sentence if len(sentence) <= MAX_SENTENCE else f"{sentence[:MAX_SENTENCE]}…"
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return _json({"error_code": code, "message": sentence}, status, headers)


def _json(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(value, allow_nan=False), status, headers, media_type="application/json")
