"""Requests to the page without a page: back-pressure, and clients that leave."""

import asyncio
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wordgaze.app import page_requests as module
from wordgaze.app.page_requests import PageRequests
from wordgaze.app.request_time import current_deadline
from wordgaze.core.errors import RequestTimeoutError
from wordgaze.serving.web_guard import RETRY_SECONDS

BODY = json.dumps({"data": [None]}).encode()


class Caller:
    """A client, which stays until it is told to leave, and what it was answered."""

    def __init__(self, path: str = "/gradio_api/run/caption") -> None:
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"x")]}
        self.leaves = asyncio.Event()
        self.sent: list[Any] = []
        self._bodies = [BODY]

    async def receive(self) -> Any:
        if self._bodies:
            return {"type": "http.request", "body": self._bodies.pop(), "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


def checked(app: Any, folder: Path) -> PageRequests:
    return PageRequests(app, folder / "uploads", {"caption": 1, 0: 1})


def test_programs_beyond_the_limit_are_told_when_to_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DIRECT", 2)

    async def crowd() -> list[Caller]:
        done = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await done.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

        requests, callers = checked(app, tmp_path), [Caller() for _ in range(4)]
        tasks = [asyncio.create_task(requests(each.scope, each.receive, each.send)) for each in callers]
        await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*tasks)
        late = Caller()
        await requests(late.scope, late.receive, late.send)
        return [*callers, late]

    callers = asyncio.run(crowd())
    assert [caller.status for caller in callers] == [200, 200, 503, 503, 200]
    assert callers[2].headers[b"retry-after"] == str(RETRY_SECONDS).encode()


def test_the_work_for_a_program_that_leaves_is_stopped(tmp_path: Path) -> None:
    ended = []

    async def visit() -> None:
        caller = Caller()

        def work() -> None:
            deadline = current_deadline()
            caller_loop.call_soon_threadsafe(caller.leaves.set)
            with pytest.raises(RequestTimeoutError, match="cancelled"):
                while True:
                    deadline.check()
            ended.append(True)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.to_thread(work)

        caller_loop = asyncio.get_running_loop()
        await asyncio.wait_for(checked(app, tmp_path)(caller.scope, caller.receive, caller.send), 30)

    asyncio.run(visit())
    assert ended == [True]


def test_no_upload_is_accepted_where_the_disk_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))

    async def visit() -> Caller:
        caller = Caller("/gradio_api/upload")
        await checked(None, tmp_path)(caller.scope, caller.receive, caller.send)
        return caller

    caller = asyncio.run(visit())
    assert caller.status == 503 and b"no room" in caller.sent[1]["body"]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"error": "a word", "title": "Error"}, 400, "a word"),
        ({"error": "too long", "title": "Timeout"}, 503, "too long"),
        ({"error": "it failed", "title": "Failure"}, 500, "it failed"),
        ({"error": None}, 400, "a value cannot be read; give those that /gradio_api/info describes"),
        ({"error": "x" * 5000}, 400, "x" * 1000),
    ],
)
def test_an_error_has_the_status_that_it_deserves(answer: Any, status: int, error: str, tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def visit() -> Caller:
        caller = Caller()
        await checked(app, tmp_path)(caller.scope, caller.receive, caller.send)
        return caller

    caller = asyncio.run(visit())
    body = caller.sent[1]["body"]
    assert (caller.status, json.loads(body)["error"]) == (status, error)
    assert caller.headers[b"content-length"] == str(len(body)).encode()


def test_a_stream_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    real = str(tmp_path / "uploads")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for part in (f'data: {{"path": "{real}/a/b.png"}}\n\n', "data: 2\n\n"):
            await send({"type": "http.response.body", "body": part.encode(), "more_body": True})

    async def visit() -> Caller:
        caller = Caller("/gradio_api/call/caption")
        await checked(app, tmp_path)(caller.scope, caller.receive, caller.send)
        return caller

    caller = asyncio.run(visit())
    assert [message["body"] for message in caller.sent[1:]] == [
        b'data: {"path": "/uploads/a/b.png"}\n\n',
        b"data: 2\n\n",
    ]


def test_old_uploads_are_deleted_while_others_arrive(tmp_path: Path) -> None:
    from wordgaze.app.page import delete_old_files

    old = tmp_path / "old.png"
    old.write_bytes(b"x")

    class Growing(set[str]):
        """An upload arrives while the set is looked through for the first time."""

        def __iter__(self) -> Iterator[str]:
            for name in super().__iter__():
                yield name
                self.add(str(tmp_path / "new.png"))

    delete_old_files(SimpleNamespace(blocks={}, temp_file_sets=[Growing([str(old)])]), None)  # type: ignore[arg-type]
    assert not old.exists()
