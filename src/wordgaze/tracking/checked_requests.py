"""Requests to the scoring server, checked before MLflow sees them: MLflow's own messages would repeat the images."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY = 256 * 2**20
"""Bytes of a request."""

# JSON has no line breaks in its texts. The tool base64 writes them, and outside of texts a blank means the same.
_BLANKS = bytes.maketrans(b"\n\r\t", b"   ")


class CheckedRequests:
    """A middleware that refuses what is not JSON or is too large, in one line.

    Line breaks within texts, which JSON does not allow, become blanks, so that the output of ``base64`` is accepted.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request that is refused, and hands on any other."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        status, problem = _problem(request)
        body = b""
        if not problem:
            try:
                body = (await request.body()).translate(_BLANKS)
            except ClientDisconnect:
                return
            status, problem = _problem_of_body(body)
        if problem:
            await Response(problem + "\n", status, media_type="text/plain")(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` with the body that was read already."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        message = next(messages, None)
        return await receive() if message is None else message

    return replay


def _problem(request: Request) -> tuple[int, str]:
    """The HTTP status and the message for a request that is refused before its body is read; '' if it is accepted."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "send JSON, with the header Content-Type: application/json"
    length = request.headers.get("content-length")
    if length is None:
        return 411, "send the header Content-Length"
    if int(length) > MAX_BODY:
        return 413, f"the request has {length} bytes, {MAX_BODY} are allowed; send fewer pictures at once"
    return 200, ""


def _problem_of_body(body: bytes) -> tuple[int, str]:
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        return 400, f'the request is not valid JSON ({error}); send {{"dataframe_records": [{{"image": BASE64}}]}}'
    return 200, ""
