"""Attacks on the application of ``wordgaze serve`` behind the guard of a server on loopback."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.serving.conftest import Client, Served, encoded
from wordgaze.serving.web_guard import GuardSettings, guard_settings

HERE = {"Host": "127.0.0.1:5001", "Content-Type": "application/json"}


def local(**settings: Any) -> GuardSettings:
    guard = guard_settings("127.0.0.1", 5001)
    return GuardSettings(allowed_hosts=guard.allowed_hosts, **settings)


def is_line(answer: httpx.Response) -> bool:
    """Whether an answer is short, and tells nothing of the machine and nothing of what was sent."""
    told = ("Traceback", "site-packages", "/tmp", "xxxxxxxxxxxxxxxxxxxx" * 20, "evil")
    return len(answer.text) < 1000 and not any(each in answer.text for each in told)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (421, {"Host": "evil.example"}),
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Sec-Fetch-Site": "cross-site"}),
        (400, {"Transfer-Encoding": "chunked", "Content-Length": "2"}),
    ],
)
def test_other_sites_and_other_names_are_refused(serve_to: Served, status: int, headers: Mapping[str, str]) -> None:
    async def ask(client: Client) -> list[httpx.Response]:
        body = json.dumps({"dataframe_records": [{"image": encoded(1)}]}).encode()
        return [await client.http.post("/invocations", content=body, headers={**HERE, **headers})]

    [answer] = serve_to(ask, guard=local())
    assert answer.status_code == status and is_line(answer)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_path_and_no_address_is_opened_and_wrong_values_are_one_line(serve_to: Served) -> None:
    images: list[Any] = ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x", "../../etc/passwd", None, 7, True,
                         [], {}, "x" * 5000, "\x1b[2J", {"path": "/etc/passwd"}]  # fmt: skip
    bodies = [json.dumps({"dataframe_records": [{"image": image}]}).encode() for image in images]
    bodies += [b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"dataframe_records": NaN}', b"\xff", b"9" * 5000]
    settings = [{"num_return_sequences": 10**6}, {"temperature": 1e-320}, {"num_beams": None}, {"x" * 5000: 1}]
    bodies += [
        json.dumps({"dataframe_records": [{"image": encoded(1)}], "params": params}).encode() for params in settings
    ]

    async def ask(client: Client) -> list[httpx.Response]:
        return [await client.http.post("/invocations", content=body, headers=HERE) for body in bodies]

    for body, answer in zip(bodies, serve_to(ask, guard=local()), strict=True):
        assert 400 <= answer.status_code < 500, (body[:100], answer.text)
        assert is_line(answer), (body[:100], answer.text[:1000])


def test_a_chunked_body_has_the_limit_of_any_other(serve_to: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from wordgaze.serving import application

    monkeypatch.setattr(application, "MAX_REQUEST", 1000)

    async def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 100

    async def ask(client: Client) -> httpx.Response:
        return await client.http.post("/invocations", content=chunks(), headers=HERE)

    answer = serve_to(ask, guard=local())
    assert answer.status_code == 413 and is_line(answer)
