"""Attacks on a running page that has a password: nothing is read, fetched, forged or told, and the page goes on."""

import base64
import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.conftest import Served, serve_app
from tests.browser import CHROMIUM, NO_CHROMIUM
from wordgaze.app.corrections import Corrections

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PASSWORD = "ann:open sesame"
HASH = "0" * 64
FORGED = "\x1b]0;OWNED\x07\x1b[2Jdog\u202e\n2026-01-01T00:00:00\tforged.jpg\tone x\ta\tforged row"
ENDPOINTS = {"caption": 5, "attention": 3, "continue_caption": 5}
"""The number of values of each endpoint; the first is the picture."""


@dataclass(frozen=True)
class Got:
    """An answer of the page."""

    status: int
    headers: dict[str, str]
    text: str


class Attacker:
    """Sends requests to the page, with its password unless told otherwise."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.host = served.address.removeprefix("http://")
        token = base64.b64encode(PASSWORD.encode()).decode()
        self.plain = {"Host": self.host, "Authorization": f"Basic {token}"}

    def send(self, method: str, path: str, body: Any = None, chunked: bool = False, **headers: str | None) -> Got:
        given = {**self.plain, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None and "Content-Length" not in given and not chunked:
            connection.putheader("Content-Length", str(len(body)))
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            connection.endheaders(iter([body]) if chunked else body, encode_chunked=chunked)
        answer = connection.getresponse()
        got = Got(answer.status, dict(answer.getheaders()), answer.read().decode("utf-8", "replace"))
        connection.close()
        return got

    def post(self, path: str, value: Any, **headers: str | None) -> Got:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.send("POST", f"/gradio_api/{path}", body, **{"Content_Type": "application/json", **headers})

    def upload(self, data: bytes, name: str = "photo.png") -> str:
        body = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        got = self.send(
            "POST", "/gradio_api/upload", body + data + b"\r\n--x--\r\n", Content_Type="multipart/form-data; boundary=x"
        )
        assert got.status == 200, got
        [path] = json.loads(got.text)
        return str(path)

    def events(self) -> dict[str, tuple[int, int]]:
        """The numbers of the page's own events, and of their values, by the name of the trigger."""
        config = json.loads(self.send("GET", "/config").text)
        return {
            trigger: (each["id"], len(each["inputs"]))
            for each in config["dependencies"]
            for _, trigger in each["targets"]
        }


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, write_captioner: Callable[..., Path]) -> Iterator[Attacker]:
    """A page with a password. At the end: no traceback, no password and no folder is in its log."""
    folder = tmp_path_factory.mktemp("attacked")
    model = write_captioner(folder / "models" / "one", 10)
    with serve_app(folder, [model], WORDGAZE_AUTH=PASSWORD, WORDGAZE_RATE="0") as served:
        yield Attacker(served)
        log = served.log
    for told in ("Traceback", "sesame", str(folder), "OWNED"):
        assert told not in log


@pytest.fixture(scope="module")
def picture(attacked: Attacker, photo: Path) -> str:
    return attacked.upload(photo.read_bytes())


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address of this machine, and the paths that were fetched from it."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", fetched
        server.shutdown()


def is_quiet(got: Got, attacked: Attacker) -> bool:
    """Whether an answer is one short line that tells nothing of this machine."""
    told = (str(attacked.served.folder), "Traceback", "site-packages", "/tmp", "root:")
    return len(got.text) < 600 and got.text.count("\n") <= 1 and not any(each in got.text for each in told)


def file_attacks() -> list[str]:
    api, up = "/gradio_api", "../" * 12
    files = ["/etc/passwd", "etc/passwd", f"/uploads/{up}etc/passwd", f"/uploads/{HASH}/{up}etc/passwd", "/proc/self/environ",
             f"/uploads/{HASH}/..", f"/uploads/{HASH}/.", f"/uploads/{HASH}", "/uploads", "/uploads/", "file:///etc/passwd",
             "corrections.sqlite", "server.log", "./server.log", f"/uploads/{HASH}/..%5c..%5cx", f"/uploads/{HASH}/a%00b",
             "%2fetc%2fpasswd", "%252fetc%252fpasswd", "//etc/passwd", "C:%5CWindows%5Cwin.ini", f"/uploads/{HASH}/photo.png",
             "http://127.0.0.1:9/x", "https://example.org/", "ftp://example.org/", "\\\\host\\share"]  # fmt: skip
    others = [f"/file={files[0]}", f"{api}/file/etc/passwd", f"/static/{up}etc/passwd", f"/assets/{up}etc/passwd",
              "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", f"/svelte/{up}etc/passwd", "/pwa_icon/../../x",
              f"{api}/proxy=http://127.0.0.1:9/x", f"{api}/proxy=https://example.org/", f"{api}/custom_component/1/client/a/b",
              f"{api}/stream/a/1/1/playlist.m3u8", "/monitoring", "/monitoring/summary", f"{api}/openapi.json", "/docs",
              "/openapi.json", f"{api}/deep_link", f"{api}/vibe-code", f"{api}/runs", f"{api}/dev/reload",
              f"{api}/mcp/sse", f"{api}/profiling/traces", "/login", "/logout", "/index.html", "/../etc/passwd"]  # fmt: skip
    return [*(f"{api}/file={file}" for file in files), *others]


@pytest.mark.parametrize("path", file_attacks())
def test_no_path_and_no_address_that_a_client_types_is_opened(attacked: Attacker, path: str) -> None:
    for method in ("GET", "HEAD"):
        got = attacked.send(method, path.replace("\\", "%5c"))
        assert got.status in (400, 404, 405), got
        assert is_quiet(got, attacked)


def test_an_upload_is_read_only_by_who_has_its_address(attacked: Attacker, picture: str, photo: Path) -> None:
    assert picture.startswith("/uploads/") and picture.endswith("/photo.png")
    assert attacked.send("GET", f"/gradio_api/file={picture}").status == 200
    assert attacked.send("GET", f"/gradio_api/file={picture}", Authorization=None).status == 401
    # Who has the same picture does not know the folder: it is no plain checksum.
    guess = hashlib.sha256(photo.read_bytes()).hexdigest()
    assert guess not in picture
    assert attacked.send("GET", f"/gradio_api/file=/uploads/{guess}/photo.png").status == 404


@pytest.mark.parametrize(
    "name", ["../../evil.png", "..\\..\\evil.png", "/etc/evil.png", "a\x1b[2J.png", "é\u202egnp.png", "x" * 300]
)
def test_an_uploads_name_leads_nowhere(attacked: Attacker, photo: Path, name: str) -> None:
    path = attacked.upload(photo.read_bytes(), name)
    assert path.startswith("/uploads/") and path.count("/") == 3 and ".." not in path.split("/")
    assert [each.name for each in attacked.served.folder.rglob("*evil*") if "uploads" not in each.parts] == []
    got = attacked.post("run/caption", {"data": [{"path": path}, "", ["greedy"], {}, 0]})
    assert got.status == 200


def test_no_address_that_a_client_gives_is_fetched(
    attacked: Attacker, picture: str, listener: tuple[str, list[str]]
) -> None:
    address, fetched = listener
    mark = {"meta": {"_type": "gradio.FileData"}}
    for file in ({"path": f"{address}/a"}, {"path": f"{address}/a", **mark}, {"path": None, "url": f"{address}/b", **mark},
                 {"url": f"{address}/c", **mark}, f"{address}/d"):  # fmt: skip
        for endpoint, count in ENDPOINTS.items():
            got = attacked.post(f"run/{endpoint}", {"data": [file, *["a dog"] * (count - 1)]})
            assert got.status == 400 and is_quiet(got, attacked), got
    given = {"path": picture, "url": f"{address}/e", **mark}
    assert attacked.post("run/caption", {"data": [given, "", ["greedy"], {}, 0]}).status == 200
    for name in ("proxy", "file"):
        assert attacked.send("GET", f"/gradio_api/{name}={address}/f").status == 404
    for number, count in attacked.events().values():
        attacked.post("run/predict", {"fn_index": number, "data": [{"path": f"{address}/g", **mark}] * count})
    assert fetched == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (421, {"Host": "evil.example"}),
        (421, {"Host": "evil.example:80"}),
        (400, {"Host": None}),
        (403, {"Origin": "https://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://localhost:3000"}),
        (403, {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}),
        (401, {"Authorization": None}),
        (401, {"Authorization": "Basic " + base64.b64encode(b"ann:").decode()}),
    ],
)
def test_other_sites_other_names_and_strangers_are_refused(
    attacked: Attacker, picture: str, status: int, headers: dict[str, str]
) -> None:
    calls = [("POST", "/gradio_api/upload"), ("POST", "/gradio_api/run/caption"), ("POST", "/gradio_api/queue/join"),
             ("GET", "/"), ("GET", f"/gradio_api/file={picture}"), ("OPTIONS", "/gradio_api/run/caption")]  # fmt: skip
    for method, path in calls:
        got = attacked.send(method, path, b"{}" if method == "POST" else None, **headers)
        assert got.status == status and is_quiet(got, attacked), (method, path, got)
        assert "Access-Control-Allow-Origin" not in got.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_bounded_however_it_comes(attacked: Attacker, chunked: bool) -> None:
    for path in ("run/caption", "call/caption", "queue/join", "cancel"):
        body = b'{"data": ["' + b"x" * (5 * 2**20) + b'"]}'
        got = attacked.send("POST", f"/gradio_api/{path}", body, chunked, Content_Type="application/json")
        assert got.status == 413 and is_quiet(got, attacked)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"7", b"{", b'{"data": NaN}', b'{"data": [Infinity]}', b"[" * 100_000, b'{"data":' * 50_000,
     b'{"data": ' + b"[" * 500 + b"]" * 500 + b"}", b"\xff\xfe", b'{"data": null}', b'{"data": {}}', b'{"data": []}',
     b'{"data": [1,2,3]}', b'{"data": [null,null,null,null,null], "session_hash": "../x"}', b"9" * 5000],
)  # fmt: skip
def test_json_that_is_none_or_of_another_form_is_refused(attacked: Attacker, body: bytes) -> None:
    for path in ("run/caption", "call/caption", "run/predict", "queue/join", "run/nothing"):
        got = attacked.post(path, body)
        assert got.status == 400 and is_quiet(got, attacked), (path, got)


WRONG = [True, 1.5, -1, 10**30, "x" * 5000, "\x1b[2J", [], {}, [None], [[]], {"a": {}}, [{"path": "/etc/passwd"}]]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_value_of_the_wrong_type_is_reported_in_one_line(attacked: Attacker, picture: str, endpoint: str) -> None:
    right: list[Any] = [{"path": picture}, "", ["greedy"], {}, 0]
    right = right if endpoint == "caption" else [right[0], "a dog", "", {}, 0][: ENDPOINTS[endpoint]]
    assert attacked.post(f"run/{endpoint}", {"data": right}).status == 200
    for place in range(len(right)):
        for wrong in [None, *WRONG]:
            got = attacked.post(f"run/{endpoint}", {"data": [*right[:place], wrong, *right[place + 1 :]]})
            assert got.status in (200, 400), (place, wrong, got)
            assert got.status == 200 or is_quiet(got, attacked), (place, wrong, got)


@pytest.mark.parametrize(
    "settings",
    [{"num": 1_000_000}, {"num_return_sequences": 1_000_000}, {"max_new_tokens": 10**9}, {"num_beams": 10**6},
     {"temperature": 1e-320}, {"temperature": 1e308}, {"top_p": -1}, {"top_k": 10**40}, {"bad_words": ["x"] * 2000},
     {"force_words": ["dog"] * 2000}, {"force_words": "dog"}, {"num_beams": None}, {"num_beams": True},
     {"mbr_samples": 10**6}, {"num_beam_groups": 10**9}, {"\x1b[2J": 1}, {"x" * 5000: 1},
     {"num_neighbours": 10**9}, {"no_repeat_ngram_size": -1}],
)  # fmt: skip
def test_every_setting_is_bounded(attacked: Attacker, picture: str, settings: dict[str, Any]) -> None:
    for strategy in ("beam", "nucleus 0.9", "mbr"):
        got = attacked.post("run/caption", {"data": [{"path": picture}, "", [strategy], settings, 0]})
        assert got.status in (200, 400) and (got.status == 200 or is_quiet(got, attacked)), got
    if settings.keys() & {"num", "num_return_sequences", "max_new_tokens", "num_beams", "mbr_samples"}:
        assert got.status == 400


def test_the_pages_own_events_take_anything(attacked: Attacker, picture: str) -> None:
    given: list[Any] = [None, 7, "x", [], {}, [1], {"path": picture}]
    for trigger, (number, count) in attacked.events().items():
        for value in given:
            for event in (None, {}, 7, "x", {"ticket": "x", "words": 7, "model": [], "kind": {}, "index": "x"},
                          {"ticket": 1, "words": ["dog"] * 3000, "model": "one", "kind": "gif"}):  # fmt: skip
                body = {"fn_index": number, "data": [value] * count, "event_data": event, "session_hash": "abc"}
                got = attacked.post("run/predict", body)
                assert got.status < 500, (trigger, value, event, got)
                assert len(got.text) < 5000 or value == given[-1]


def test_a_forged_correction_is_one_clean_row(attacked: Attacker, picture: str) -> None:
    number, count = attacked.events()["correct"]
    event = {"ticket": 1, "model": "one", "words": [], "text": "a red barn", "caption": FORGED}
    body = {"fn_index": number, "data": [{"path": picture, "orig_name": "\x1b[2Jx\n.png"}, *[None] * (count - 1)]}
    assert "1 correction kept" in attacked.post("run/predict", {**body, "event_data": event}).text
    refused = [{**event, "text": "dog " * 2000}, {**event, "caption": "dog " * 2000}, {**event, "model": "other"},
               {**event, "model": FORGED}, {**event, "text": "dog\x1b[2J"}, {**event, "text": ["dog"]}]  # fmt: skip
    for each in refused:
        assert "kept" not in attacked.post("run/predict", {**body, "event_data": each}).text
    [kept] = Corrections(attacked.served.folder / "corrections.sqlite").all()
    code = "from wordgaze.cli import main; main()"
    command = [sys.executable, "-c", code, "corrections", "list"]
    listed = subprocess.run(command, cwd=attacked.served.folder, capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 1 and len(listed.split("\t")) == 5
    assert not any(each in listed for each in "\x1b\x07\u202e")
    assert kept.accepted == "a red barn"


def test_the_page_goes_on_and_its_answers_carry_the_headers(attacked: Attacker, picture: str) -> None:
    got = attacked.send("GET", "/")
    headers = {name.lower(): value for name, value in got.headers.items()}
    assert got.status == 200 and str(attacked.served.folder) not in got.text
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert str(attacked.served.folder) not in attacked.send("GET", "/config").text
    assert attacked.post("run/caption", {"data": [{"path": picture}, "", ["greedy"], {}, 0]}).status == 200


@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_browser_that_knows_the_password_shows_the_page(attacked: Attacker, browser: "Browser", photo: Path) -> None:
    from playwright.sync_api import expect

    user, _, password = PASSWORD.partition(":")
    with browser.new_context(
        base_url=attacked.served.address, http_credentials={"username": user, "password": password}
    ) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto("/")
        page.locator("#picture input[type=file]").first.set_input_files(photo)
        expect(page.locator(".wg-row")).to_have_count(2)
        assert errors == []
