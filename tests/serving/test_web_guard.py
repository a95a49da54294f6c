"""What the guard refuses in front of an application, and what it hands on."""

import asyncio
import base64
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from wordgaze.core.errors import ParamsError
from wordgaze.serving.web_guard import GuardSettings, WebGuard, guard_settings, is_loopback, warnings_of

LOCAL = frozenset({"localhost", "127.0.0.1"})
HOST = ("Host", "127.0.0.1:7860")
Headers = Iterable[tuple[str, str]]


class Echo:
    """An application that answers with the body it has read, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope)
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})


class Answer:
    """What a client got: status, headers in lower case, and body; and what the application was asked."""

    def __init__(self, sent: Sequence[dict[str, Any]], asked: Sequence[dict[str, Any]]) -> None:
        self.status = sent[0].get("status", 0)
        self.headers = {name.decode(): value.decode() for name, value in sent[0].get("headers", ())}
        self.text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        self.sent, self.asked = sent, asked


def ask(
    guard: WebGuard,
    headers: Headers = (HOST,),
    *,
    method: str = "POST",
    path: str = "/",
    chunks: Sequence[bytes] = (b"",),
    kind: str = "http",
    pause: float = 0,
    client: str = "10.0.0.9",
) -> Answer:
    """Sends a request through the guard."""
    waiting, sent = list(chunks), []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "method": method, "path": path, "headers": raw, "client": (client, 1)}
    asyncio.run(guard(scope, receive, send))
    assert isinstance(guard.app, Echo)
    return Answer(sent, guard.app.asked)


def guarded(**settings: Any) -> WebGuard:
    return WebGuard(Echo(), GuardSettings(**{"allowed_hosts": LOCAL, **settings}))


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "localhost."])
def test_a_request_under_a_known_name_is_handed_on(host: str) -> None:
    answer = ask(guarded(), [("Host", host)], chunks=[b"ab", b"c"])
    assert (answer.status, answer.text) == (200, "abc")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil.example", "evil.example#localhost", "[::1", "127.1",
     "localhost evil", "localhost,evil.example", "0.0.0.0:7860"],
)  # fmt: skip
def test_a_name_that_leads_here_by_dns_rebinding_is_refused(host: str) -> None:
    answer = ask(guarded(), [("Host", host)])
    assert answer.status == 421
    assert answer.text.count("\n") == 1 and "WORDGAZE_HOSTS" in answer.text and "evil" not in answer.text
    assert answer.asked == []


def test_a_request_needs_one_host() -> None:
    assert ask(guarded(), []).status == 400
    assert ask(guarded(), [HOST, ("host", "evil.example")]).status == 400
    assert ask(guarded(allowed_hosts=None), [("Host", "any.example")]).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example")],
        [("Origin", "null")],
        [("Origin", "http://localhost:3000")],
        [("Origin", "http://127.0.0.1:7860.evil.example")],
        [("Origin", "http://127.0.0.1:7860@evil.example")],
        [("Origin", "http://[")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Dest", "image")],
        [("Origin", "http://127.0.0.1:7860"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_requests_from_pages_of_other_sites_are_refused(headers: Headers, method: str) -> None:
    answer = ask(guarded(), [HOST, *headers], method=method)
    assert (answer.status, answer.asked) == (403, [])
    assert "pages of other sites" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "http://127.0.0.1:7860"), ("Sec-Fetch-Site", "same-origin")],
        [("Origin", "https://captions.example")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Dest", "document")],
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "document")],
    ],
)
def test_the_own_page_a_trusted_one_and_links_are_accepted(headers: Headers) -> None:
    guard = guarded(trusted_origins=frozenset({"captions.example"}))
    assert ask(guard, [HOST, *headers], method="GET").status == 200


def test_an_origin_behind_a_proxy_may_have_its_default_port() -> None:
    guard = guarded(allowed_hosts=frozenset({"captions.example"}))
    given = [("Host", "captions.example"), ("Origin", "https://captions.example")]
    assert ask(guard, given).status == 200
    assert ask(guard, [given[0], ("Origin", "https://captions.example:8443")]).status == 403


def basic(credentials: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(credentials.encode()).decode()


def test_the_password_is_asked_for_and_not_handed_on() -> None:
    guard = guarded(password="ann:sécret:x", open_paths=frozenset({"/health"}))
    refused = ask(guard)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith('Basic realm="wordgaze"')
    wrong = [basic("ann:secret"), basic(""), basic("ann:sécret:x "), ("Authorization", "Basic é%"),
             ("Authorization", "Bearer ann:sécret:x".encode().decode("latin-1")), ("Authorization", "Basic")]  # fmt: skip
    assert [ask(guard, [HOST, each]).status for each in wrong] == [401] * len(wrong)
    assert ask(guard, path="/health").status == 200
    answer = ask(guard, [HOST, basic("ann:sécret:x")])
    assert answer.status == 200
    assert [name for name, _ in answer.asked[-1]["headers"]] == [b"host"]
    assert "sécret" not in repr(guard.settings)


def test_passwords_cannot_be_tried_one_after_another() -> None:
    guard = guarded(password="ann:secret", requests_per_minute=1000)
    statuses = [ask(guard, [HOST, basic(f"ann:{number}")]).status for number in range(20)]
    assert statuses[:9] == [401] * 9 and statuses[-1] == 429
    assert ask(guard, [HOST, basic("ann:secret")], client="10.0.0.8").status == 200


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    guard = guarded(requests_per_minute=3)
    assert [ask(guard).status for _ in range(3)] == [200] * 3
    answer = ask(guard)
    assert (answer.status, answer.headers["retry-after"]) == (429, "20")
    assert ask(guard, client="10.0.0.8").status == 200


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        ([("Content-Length", "11")], [b"x" * 11]),
        ([("Content-Length", "9" * 15)], [b"x"]),
        ([("Transfer-Encoding", "chunked")], [b"x" * 5] * 3),
        ([], [b"x" * 11]),
    ],
)
def test_a_body_over_the_limit_is_refused_however_it_comes(headers: Headers, chunks: Sequence[bytes]) -> None:
    answer = ask(guarded(max_body=10), [HOST, *headers], chunks=chunks)
    assert (answer.status, answer.text) == (413, "the request has more than the 10 bytes allowed; send less at once\n")
    assert answer.headers["connection"] == "close"
    assert len(answer.sent) == 2


def test_a_path_may_have_a_limit_of_its_own() -> None:
    guard = guarded(max_body=10, max_body_of=(("/upload", 20),))
    assert ask(guard, path="/upload", chunks=[b"x" * 20]).status == 200
    assert ask(guard, path="/upload", chunks=[b"x" * 21]).status == 413
    assert ask(guard, path="/run", chunks=[b"x" * 20]).status == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 5000, "٣".encode().decode("latin-1"), "+5"])
def test_a_length_that_is_not_one_is_refused(length: str) -> None:
    assert ask(guarded(), [HOST, ("Content-Length", length)]).status == 400


def test_two_ways_of_giving_the_length_are_refused() -> None:
    headers = [HOST, ("Content-Length", "2"), ("Transfer-Encoding", "chunked")]
    assert ask(guarded(), headers).status == 400
    assert ask(guarded(), [HOST, ("Content-Length", "2"), ("Content-Length", "3")]).status == 400


def test_a_slow_sender_is_refused_in_time() -> None:
    guard = guarded(body_timeout=0.05)
    answer = ask(guard, chunks=[b"x"] * 100, pause=0.02)
    assert (answer.status, answer.text) == (408, "the request came too slowly; send it again\n")
    assert ask(guard, chunks=[b"x"]).status == 200


def test_a_quick_beginning_does_not_pay_for_a_slow_end() -> None:
    answer = ask(guarded(body_timeout=0.05), chunks=[b"x" * 2**20, *[b"x"] * 100], pause=0.02)
    assert answer.status == 408


def test_every_answer_has_the_security_headers() -> None:
    for answer in (ask(guarded(policy="default-src 'self'")), ask(guarded(policy="default-src 'self'"), [])):
        assert answer.headers["content-security-policy"] == "default-src 'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"


def test_a_websocket_is_checked_and_a_lifespan_is_not() -> None:
    guard = guarded()
    answer = ask(guard, [("Host", "evil.example")], kind="websocket")
    assert [(message["type"], message["code"]) for message in answer.sent] == [("websocket.close", 1008)]
    asyncio.run(guard({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert isinstance(guard.app, Echo)
    assert [scope["type"] for scope in guard.app.asked] == ["lifespan"]


def test_the_settings_of_a_server_follow_the_address_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTH", "HOSTS", "RATE"):
        monkeypatch.delenv(f"WORDGAZE_{name}", raising=False)
    assert guard_settings("127.0.0.1", 1).allowed_hosts == {"localhost", "127.0.0.1", "::1"}
    assert "127.0.0.2" in (guard_settings("127.0.0.2", 1).allowed_hosts or ())
    assert guard_settings("0.0.0.0", 1).allowed_hosts is None
    monkeypatch.setenv("WORDGAZE_HOSTS", "Captions.example, other.example")
    monkeypatch.setenv("WORDGAZE_AUTH", "ann:secret")
    monkeypatch.setenv("WORDGAZE_RATE", "10")
    settings = guard_settings("0.0.0.0", 1)
    assert {"captions.example", "other.example", "localhost"} <= (settings.allowed_hosts or set())
    assert settings.trusted_origins == {"captions.example", "other.example"}
    assert (settings.password, settings.requests_per_minute) == ("ann:secret", 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH", "secret"),
        ("AUTH", ":secret"),
        ("AUTH", "secret:"),
        ("RATE", "many"),
        ("RATE", "-1"),
        ("RATE", "9" * 30),
    ],
)
def test_an_environment_that_cannot_be_used_is_reported(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"WORDGAZE_{name}", value)
    with pytest.raises(ParamsError, match=f"WORDGAZE_{name} is ") as raised:
        guard_settings("127.0.0.1", 1)
    assert "secret" not in str(raised.value)


def test_who_opens_a_server_to_others_is_warned() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9")] == [True] * 5
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", "")] == [False] * 5
    assert warnings_of("127.0.0.1", GuardSettings()) == []
    [line] = warnings_of("0.0.0.0", GuardSettings())
    assert "without a password" in line and "WORDGAZE_AUTH" in line
    [line] = warnings_of("0.0.0.0", GuardSettings(password="ann:secret"))
    assert "without TLS" in line and "secret" not in line
