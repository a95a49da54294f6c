"""Connections of a real server: slow senders are closed, and a stopping server finishes what it has accepted."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest
import uvicorn

from tests.serving.conftest import encoded
from wordgaze.serving import server as serving
from wordgaze.serving.application import CaptionServer, ServeSettings, build_application
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.web_guard import GuardSettings

Start = Callable[..., Any]


@contextmanager
def running(model: ServedModel) -> Iterator[tuple[int, uvicorn.Server]]:
    """A server on a thread, and its port."""
    app = build_application(CaptionServer(model, ServeSettings()), GuardSettings(body_timeout=0.5))
    config = uvicorn.Config(app, http=serving.PatientProtocol, ws="none", log_level="error")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1], server
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def received(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    connection.settimeout(20)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_slow_senders_are_closed_and_hold_nobody(served_model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.5)
    head = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    with running(served_model) as (port, _):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for number, connection in enumerate(slow):
            connection.sendall((b"", head, head + b"\r\n{")[number % 3])  # nothing, half of the headers, half of a body
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=20) as answer:
            assert answer.status == 200
        answers = [received(connection) for connection in slow]
        for connection in slow:
            connection.close()
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"", b"HTTP/1.1 408 Request Timeout"}
    assert sum(bool(answer) for answer in answers) == 20


def test_a_kept_connection_answers_again(served_model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.6)
    with running(served_model) as (port, _), socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.settimeout(20)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        assert received(connection) == b""  # closed, because nothing more was asked


def test_a_request_that_follows_another_at_once_has_its_time(
    served_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = served_model.captioner.decoder.step

    def slow(*given: Any) -> Any:
        time.sleep(0.1)
        return step(*given)

    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(served_model.captioner.decoder, "step", slow)
    body = json.dumps({"instances": [encoded(1)], "params": {"max_new_tokens": 20, "min_new_tokens": 20}}).encode()
    head = (
        f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    both = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /invocations HTTP/1.1\r\n" + head.encode() + body
    with running(served_model) as (port, _), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(both)
        answers = received(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b'"predictions"' in answers


def test_a_stopping_server_answers_what_it_has_accepted(
    served_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, begun = served_model.captioner.decoder.step, threading.Event()

    def slow(*given: Any) -> Any:
        begun.set()
        time.sleep(0.05)
        return step(*given)

    monkeypatch.setattr(served_model.captioner.decoder, "step", slow)
    answers: list[int] = []

    def ask(port: int) -> None:
        body = json.dumps({"instances": [encoded(1)], "params": {"max_new_tokens": 20, "min_new_tokens": 20}}).encode()
        request = Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            answers.append(len(json.load(answer)["predictions"][0]["words"]))

    with running(served_model) as (port, server):
        asking = threading.Thread(target=ask, args=(port,))
        asking.start()
        assert begun.wait(20)
        server.should_exit = True
        asking.join(30)
    assert answers == [20]
