"""What the web page and the HTTP server refuse before their own code sees a request.

:class:`WebGuard` is an ASGI middleware around either of them. It checks the Host header (DNS rebinding), the site that
a browser's request comes from, the rate of the client, the password, and the size and the speed of the body, also of a
chunked one. It adds the security headers to every answer.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from wordgaze.core.errors import ParamsError
from wordgaze.serving.client_rates import ClientRates

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 256 * 2**20
"""Bytes of a request."""

REQUESTS_PER_MINUTE = 3000
"""Of one client. A visit of the page takes about a hundred."""

SLOWEST_BODY = 16 * 2**10
"""Bytes per second that a client must send; it is refused once it is ``body_timeout`` late."""

WRONG_PASSWORD_COST = 100
"""Requests that a wrong password counts as."""

RETRY_SECONDS = 2
"""Seconds after which a client that was refused with status 503 may try again."""

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of answers that no browser needs to show."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class GuardSettings:
    """What a :class:`WebGuard` accepts.

    ``allowed_hosts`` are names without a port; None allows any name. Pages of the hosts ``trusted_origins`` may send
    requests, besides the server's own page. ``max_body`` is in bytes; a path that begins with a key of
    ``max_body_of`` has its own limit. ``requests_per_minute`` is of one client, 0 sets no limit. ``password`` is
    ``user:password``, "" is none; the ``open_paths`` need none. ``policy`` is the Content-Security-Policy.
    """

    allowed_hosts: frozenset[str] | None = None
    trusted_origins: frozenset[str] = frozenset()
    max_body: int = MAX_BODY
    max_body_of: tuple[tuple[str, int], ...] = ()
    body_timeout: float = 30.0
    requests_per_minute: int = REQUESTS_PER_MINUTE
    password: str = field(default="", repr=False)
    open_paths: frozenset[str] = frozenset()
    policy: str = API_POLICY


def guard_settings(host: str, port: int) -> GuardSettings:
    """The settings of a server that listens on ``host`` and ``port``, with those of the environment.

    ``WORDGAZE_AUTH`` is ``user:password``. ``WORDGAZE_HOSTS`` are the names, separated by commas, under which a proxy
    or a name server leads to this server. ``WORDGAZE_RATE`` is the number of requests per minute and client. Raises
    ParamsError for values that cannot be used; the message does not repeat the password.
    """
    names = frozenset(_bare(name) for name in os.environ.get("WORDGAZE_HOSTS", "").split(",") if name.strip())
    allowed = frozenset({*names, *_LOOPBACK, _bare(host)}) if names or is_loopback(host) else None
    return GuardSettings(
        allowed_hosts=allowed,
        trusted_origins=names,
        requests_per_minute=_rate(os.environ.get("WORDGAZE_RATE", "")),
        password=_credentials(os.environ.get("WORDGAZE_AUTH", "")),
    )


def is_loopback(host: str) -> bool:
    """Whether a server on ``host`` is reached from this machine alone."""
    try:
        return _bare(host) == "localhost" or ip_address(_bare(host)).is_loopback
    except ValueError:
        return False


def warnings_of(host: str, settings: GuardSettings) -> list[str]:
    """What the operator of a server that is open to others should know, one line each."""
    if is_loopback(host):
        return []
    if not settings.password:
        return [
            f"{host} opens this server to other machines without a password: set WORDGAZE_AUTH=user:password, and put "
            "a proxy with TLS in front of it"
        ]
    return [f"{host} opens this server to other machines without TLS, which shows the password: put a proxy in front"]


class _RefusalError(Exception):
    """A request is answered with ``status`` and one line."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, headers


class WebGuard:
    """The middleware: ``WebGuard(app, settings)`` is an ASGI application."""

    def __init__(self, app: Application, settings: GuardSettings) -> None:
        self.app, self.settings = app, settings
        self._rates = ClientRates(settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that is refused, and hands on any other without its password."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self.settings.policy)
        try:
            limit = self._check(scope)
        except _RefusalError as refusal:
            await answer.refuse(refusal, scope["type"])
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        body = _Body(receive, answer, limit, self.settings.body_timeout)
        await self.app({**scope, "headers": headers}, body.receive, answer.send)

    def _check(self, scope: Scope) -> int:
        """The limit of the body in bytes. Raises _RefusalError."""
        headers = _Headers(scope["headers"])
        _check_host(headers, self.settings.allowed_hosts)
        _check_site(scope, headers, self.settings.trusted_origins)
        client = (scope.get("client") or ("",))[0]
        self._take(client, 1)
        if self.settings.password and scope["path"] not in self.settings.open_paths:
            self._check_password(headers, client)
        limits = (limit for start, limit in self.settings.max_body_of if scope["path"].startswith(start))
        limit = next(limits, self.settings.max_body)
        _check_length(headers, limit)
        return limit

    def _take(self, client: str, count: int) -> None:
        if wait := self._rates.take(client, count):
            raise _RefusalError(
                429, f"too many requests; try again in {wait} second{'s' * (wait > 1)}", **{"Retry-After": str(wait)}
            )

    def _check_password(self, headers: "_Headers", client: str) -> None:
        sent = headers.one("authorization")
        if sent and _is_password(sent, self.settings.password):
            return
        if sent:
            self._take(client, WRONG_PASSWORD_COST)
        raise _RefusalError(
            401,
            "give the user and the password of this server",
            **{"WWW-Authenticate": 'Basic realm="wordgaze", charset="UTF-8"'},
        )


class _Headers:
    """The headers of a request. Raises _RefusalError for one that must not be repeated and is."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def one(self, name: str) -> str:
        """The value of a header, "" if it is missing."""
        values = [value.decode("latin-1").strip() for key, value in self._raw if key.lower() == name.encode()]
        if len(values) > 1:
            raise _RefusalError(400, f"the header {name} is given {len(values)} times; give it once")
        return values[0] if values else ""


class _Answer:
    """What is sent to the client: one answer, with the security headers."""

    def __init__(self, send: Send, policy: str) -> None:
        self._send, self._policy = send, policy
        self.has_started = self.is_refused = False

    async def send(self, message: Message) -> None:
        """Sends what the application answers, unless the request was refused meanwhile."""
        if self.is_refused:
            return
        if message["type"] == "http.response.start":
            self.has_started = True
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [(name, value) for name, value in _security_headers(self._policy) if name not in present]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)

    async def refuse(self, refusal: _RefusalError, kind: str = "http") -> None:
        """Answers with the refusal, unless an answer has begun; nothing else is sent."""
        if kind == "websocket":
            await self._send({"type": "websocket.close", "code": 1008, "reason": refusal.line[:100]})
        elif not self.has_started:
            body = (refusal.line + "\n").encode()
            fields = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
            fields |= {"Connection": "close", **refusal.headers}
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
            await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        self.is_refused = True


class _Body:
    """The body of a request, counted and timed while the application reads it."""

    def __init__(self, receive: Receive, answer: _Answer, limit: int, patience: float) -> None:
        self._receive, self._answer, self._limit, self._patience = receive, answer, limit, patience
        self._time_left, self._length, self._is_complete = patience, 0, False

    async def receive(self) -> Message:
        """The next message; the client's leaving, for the application, once the request is refused."""
        if self._is_complete:
            return await self._receive()
        if self._answer.is_refused:
            return {"type": "http.disconnect"}
        started = time.monotonic()  # an application may do other things before it reads
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._time_left))
        except TimeoutError:
            await self._answer.refuse(_RefusalError(408, "the request came too slowly; send it again"))
            return {"type": "http.disconnect"}
        length = len(message.get("body", b""))
        # A quick beginning does not pay for a slow end: at any time a client is at most ``patience`` late.
        earned = length / SLOWEST_BODY - (time.monotonic() - started)
        self._time_left = min(self._patience, self._time_left + earned)
        self._length += length
        self._is_complete = not message.get("more_body", False)
        if self._length > self._limit:
            await self._answer.refuse(_too_large(self._limit))
            return {"type": "http.disconnect"}
        return message


def _check_host(headers: _Headers, allowed: frozenset[str] | None) -> None:
    host = headers.one("host")
    if not host:
        raise _RefusalError(400, "the header Host is missing")
    if allowed is None or _hostname(host) in allowed:
        return
    raise _RefusalError(
        421, "this server does not answer under the name in the header Host; its operator can set WORDGAZE_HOSTS"
    )


def _check_site(scope: Scope, headers: _Headers, trusted: frozenset[str]) -> None:
    """Refuses what a page of another site lets a browser send; links to the page are followed."""
    origin, site = headers.one("origin"), headers.one("sec-fetch-site")
    is_link = scope.get("method") in ("GET", "HEAD") and headers.one("sec-fetch-dest") == "document"
    is_foreign = site in ("cross-site", "same-site") and not is_link
    if origin:
        is_trusted = _hostname(_place(origin)) in trusted
        is_foreign = not is_trusted and (
            is_foreign or _place(origin) != _place(f"{_scheme(origin)}://{headers.one('host')}")
        )
    if is_foreign:
        raise _RefusalError(403, "this server accepts no requests from pages of other sites")


def _check_length(headers: _Headers, limit: int) -> None:
    length = headers.one("content-length")
    if length and headers.one("transfer-encoding"):
        raise _RefusalError(400, "the request has both Content-Length and Transfer-Encoding; send one of them")
    if length and (not length.isdecimal() or len(length) > 15):
        raise _RefusalError(400, "the header Content-Length is not a number of bytes")
    if length and int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> _RefusalError:
    return _RefusalError(413, f"the request has more than the {limit} bytes allowed; send less at once")


def _scheme(origin: str) -> str:
    return origin.partition("://")[0].lower()


def _place(origin: str) -> str:
    """Host and port of an origin, without a port that is its scheme's default; "" for what has none, as ``null``."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return host if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{port}"


def _hostname(host: str) -> str:
    """The name in a Host header, in lower case and without its port; "" for what is not one."""
    if not host or any(character in host for character in "/@\\?# \t"):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _bare(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


def _is_password(sent: str, password: str) -> bool:
    """Whether an Authorization header holds the password; takes equally long for any wrong one."""
    kind, _, value = sent.partition(" ")
    try:
        given = base64.b64decode(value.strip(), validate=True) if kind.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(password.encode()).digest())


def _credentials(value: str) -> str:
    user, colon, password = value.partition(":")
    if value and not (user and colon and password):
        raise ParamsError("WORDGAZE_AUTH is not of the form user:password; give both, or unset it")
    return value


def _rate(value: str) -> int:
    if not value:
        return REQUESTS_PER_MINUTE
    if not value.isdecimal() or len(value) > 9:
        raise ParamsError(f"WORDGAZE_RATE is {value[:60]!r}; give a number of requests per minute, 0 for no limit")
    return int(value)


def _security_headers(policy: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(self), geolocation=(), microphone=(), payment=(), usb=()"),
    ]
