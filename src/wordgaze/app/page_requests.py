"""Requests to the page, checked before Gradio sees them, and answers without the paths of this machine.

Gradio serves much that the page does not use, among it a proxy, component servers and streams. Only what the page and
programs need is reached. A picture is uploaded, and is then named by the address that the upload answered: no other
path and no address on the network is accepted anywhere in a request.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wordgaze.app.request_time import begin_request
from wordgaze.core.errors import ParamsError
from wordgaze.inference.deadline import Deadline
from wordgaze.serving.web_guard import RETRY_SECONDS, Application, Message, Receive, Scope, Send

API = "/gradio_api"
SHOWN_FOLDER = "/uploads"
"""What clients see in place of the folder of the uploads."""

MIN_FREE_BYTES = 2**30
"""Of the disk that holds the uploads; no upload is accepted below it."""

MAX_DIRECT = 128
"""Requests of programs to ``/run/`` in progress; one more is told to come back. Those to ``/call/`` wait in a queue."""

_MAX_DEPTH = 20  # of JSON
_MAX_MESSAGE = 1000  # characters
_UNREADABLE = "a value cannot be read; give those that /gradio_api/info describes"
_UPLOADED = re.compile(rf"{SHOWN_FOLDER}/[0-9a-f]{{64}}/([^/\\\x00]+)")
_FILE = f"{API}/file="
_PAGES = re.compile(
    r"/|/config/?|/(assets|static|svelte)/.*|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(/\d+)?"
)
_READS = re.compile(
    rf"{API}/(info/?|upload_progress|queue/data|queue/status|call/\w+/\w+|heartbeat/\w+|startup-events|app_id/?|"
    r"theme\.css|login_check/?|user/?|token/?|file=.*)"
)
_ENDPOINT = re.compile(rf"{API}/(run|api|call)/(\w+)/?")
_JOIN = f"{API}/queue/join"
_WRITES = re.compile(rf"{_ENDPOINT.pattern}|{API}/(upload|cancel|reset/?|queue/join)")
_FIELDS = ("data", "session_hash", "fn_index", "trigger_id", "event_data")
"""The fields that Gradio's clients send; others are for its own use."""

_STATUSES = {"Error": 400, "Timeout": 503}
"""The HTTP status by the title of an error that a handler raised; for any other title it is 500."""


class PageRequests:
    """The middleware. ``inputs`` are the numbers of values of each event, by number and by name."""

    def __init__(self, app: Application, uploads: Path, inputs: Mapping[int | str, int]) -> None:
        self.app, self.uploads, self.inputs = app, uploads, inputs
        self._direct = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that is refused, and hands on any other."""
        if scope["type"] != "http":
            return  # the page has no web sockets; a lifespan does not come here
        path, method = scope["path"], scope["method"]
        if not _is_served(path, method):
            await _refuse(send, 404 if method in ("GET", "HEAD", "POST") else 405, "the page has no such address")
        elif path.startswith(_FILE):
            await self._file(scope, receive, send)
        elif method == "POST" and path == f"{API}/upload":
            await self._upload(scope, receive, send)
        elif method == "POST":
            await self._event(scope, receive, send)
        else:
            await self.app(_plain(scope), receive, self._hiding(send) if path.startswith(API) else send)

    async def _file(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            path = self._real(unquote(scope["path"].removeprefix(_FILE)))
        except ParamsError:
            path = ""
        if not path or not Path(path).is_file():
            await _refuse(send, 404, "there is no such file")
            return
        await self.app({**scope, "path": _FILE + path, "raw_path": (_FILE + path).encode()}, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        if shutil.disk_usage(self.uploads.parent).free < MIN_FREE_BYTES:
            await _refuse(send, 503, "the server has no room for more pictures; try again later")
            return
        await self.app(_plain(scope), receive, self._hiding(send))

    async def _event(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read(receive)
            if body is None:
                return
            content = json.dumps(self._checked(scope["path"], _parsed(body))).encode()
        except ParamsError as error:
            await _refuse(send, 400, str(error))
            return
        request = _plain(scope, len(content)), _replayed(content, receive), self._hiding(send)
        if not scope["path"].startswith((f"{API}/run/", f"{API}/api/")):
            await self.app(*request)
        elif self._direct >= MAX_DIRECT:
            await _refuse(send, 503, "the page is busy; try again in a few seconds")
        else:
            await self._answer(request, receive)

    async def _answer(self, request: tuple[Scope, Receive, Send], receive: Receive) -> None:
        """Answers a program that waits; its work ends when it leaves."""
        deadline = begin_request()
        self._direct += 1
        leaving = asyncio.create_task(_cancel_at_leaving(deadline, receive))
        try:
            await self.app(*request)
        finally:
            leaving.cancel()
            self._direct -= 1

    def _checked(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What Gradio gets of a request. Raises ParamsError."""
        session = body.get("session_hash")
        if session is not None and not (isinstance(session, str) and re.fullmatch(r"\w{1,64}", session, re.ASCII)):
            raise ParamsError("session_hash is not a name of letters and digits; leave it out")
        endpoint = _ENDPOINT.fullmatch(path)
        if endpoint is None and path != _JOIN:
            return {key: body[key] for key in ("session_hash", "fn_index", "event_id") if key in body}
        event = endpoint[2] if endpoint and endpoint[2] != "predict" else body.get("fn_index")
        if isinstance(event, bool) or not isinstance(event, int | str) or event not in self.inputs:
            raise ParamsError("the page has no such endpoint; there are caption, attention and continue_caption")
        data, count = body.get("data"), self.inputs[event]
        if not isinstance(data, list) or len(data) != count:
            found = len(data) if isinstance(data, list) else "no"
            raise ParamsError(f"data has {found} values; give a list of {count}, null for those that are not set")
        return {key: self._real_paths(body[key]) for key in _FIELDS if key in body}

    def _real_paths(self, value: Any, depth: int = 0) -> Any:
        """JSON with the paths of uploads in place of their addresses. Raises ParamsError for any other path."""
        if depth > _MAX_DEPTH:
            raise ParamsError(f"the request is nested more than {_MAX_DEPTH} deep; send plain values")
        if isinstance(value, list):
            return [self._real_paths(each, depth + 1) for each in value]
        if not isinstance(value, dict):
            return value
        file = {"path": self._real(value["path"])} if value.get("path") is not None else {}
        rest = {key: self._real_paths(each, depth + 1) for key, each in value.items() if key not in ("url", *file)}
        return {**rest, **file}

    def _real(self, shown: object) -> str:
        found = _UPLOADED.fullmatch(shown) if isinstance(shown, str) else None
        if found is None or found[1] in (".", ".."):
            raise ParamsError("the path is not that of an uploaded picture; upload one and give its path")
        return str(self.uploads) + found[0].removeprefix(SHOWN_FOLDER)

    def _hiding(self, send: Send) -> Send:
        """``send`` that names no folder of this machine, with the status of the errors that handlers raise."""
        return _Hiding(send, json.dumps(str(self.uploads))[1:-1].encode()).send


class _Hiding:
    """An answer in JSON or as a stream of events, in which a folder is shown as SHOWN_FOLDER."""

    def __init__(self, send: Send, folder: bytes) -> None:
        self._send, self._folder = send, folder
        self._start: Message | None = None  # held back until the whole body is known
        self._body = b""

    async def send(self, message: Message) -> None:
        """Sends one message; those of a stream at once."""
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            if kind.startswith((b"application/json", b"text/plain")):
                self._start = message
                return
        elif message["type"] == "http.response.body":
            body = message.get("body", b"").replace(self._folder, SHOWN_FOLDER.encode())
            if self._start is not None:
                self._body += body
                if message.get("more_body", False):
                    return
                body = await self._begin(self._start)
                self._start = None
            message = {**message, "body": body}
        await self._send(message)

    async def _begin(self, start: Message) -> bytes:
        """Sends the start of the answer; returns its body."""
        status, body = start["status"], self._body
        if status == 500:
            status, body = _error_answer(body)
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        headers += _length_and_pause(status, body)
        await self._send({**start, "status": status, "headers": headers})
        return body


def _length_and_pause(status: int, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-length", str(len(body)).encode())]
    return [*headers, (b"retry-after", str(RETRY_SECONDS).encode())] if status == 503 else headers


def _error_answer(body: bytes) -> tuple[int, bytes]:
    """The status and the body for an error that Gradio answers with 500.

    Gradio names no error where it could not read a value before a handler saw it; handlers name all of theirs.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return 500, b'{"error": "the page failed on this request; its operator finds more in the log"}'
    error, title = answer.get("error") or _UNREADABLE, answer.get("title") or "Error"
    return _STATUSES.get(title, 500), json.dumps({"error": str(error)[:_MAX_MESSAGE], "title": title}).encode()


def _is_served(path: str, method: str) -> bool:
    if ".." in re.split(r"[/\\]", path):
        return False
    if method in ("GET", "HEAD"):
        return bool(_PAGES.fullmatch(path) or _READS.fullmatch(path)) and "\x00" not in path
    return method == "POST" and bool(_WRITES.fullmatch(path))


def _parsed(body: bytes) -> dict[str, Any]:
    """The JSON object of a request. Raises ParamsError."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ParamsError('the request is not valid JSON; send {"data": [...]}') from error
    if not isinstance(value, dict):
        raise ParamsError('the request is not a JSON object; send {"data": [...]}')
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def _read(receive: Receive) -> bytes | None:
    """The body; None of a client that has left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _cancel_at_leaving(deadline: Deadline, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    deadline.cancel()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` with the body that was read already."""
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        message = next(messages, None)
        return await receive() if message is None else message

    return replay


def _plain(scope: Scope, length: int | None = None) -> Scope:
    """A request whose answer is not compressed, so that it can be read here; with the length of another body."""
    dropped = {b"accept-encoding"} if scope["path"].startswith(API) else set()
    if length is not None:
        dropped |= {b"content-length", b"transfer-encoding", b"content-type"}
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    if length is not None:
        headers += [(b"content-length", str(length).encode()), (b"content-type", b"application/json")]
    return {**scope, "headers": headers}


async def _refuse(send: Send, status: int, line: str) -> None:
    body = json.dumps({"error": line}).encode()
    headers = [(b"content-type", b"application/json"), *_length_and_pause(status, body)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
