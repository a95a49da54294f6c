"""MLflow's server behind a gate that asks for a password or a token, as MLflow's basic-auth app and proxies do."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.tracking.conftest import mlflow_server
from wordgaze.core.errors import TrackingError
from wordgaze.tracking.package import log_captioner
from wordgaze.tracking.registry import register
from wordgaze.tracking.resolve import resolve
from wordgaze.tracking.runs import stage_run
from wordgaze.tracking.store import open_store

ACCEPTED = {"Basic " + base64.b64encode(b"me:secret").decode(), "Bearer a-token"}
GIVEN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@pytest.fixture
def gate(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    with mlflow_server(folder) as behind:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(behind))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def handler(behind: str) -> type[BaseHTTPRequestHandler]:
    class Gate(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.body()
            if self.headers.get("Authorization") not in ACCEPTED:
                self.reply(401, b"You are not authenticated.")
                return
            aside = ("host", "transfer-encoding", "content-length")
            kept = {name: value for name, value in self.headers.items() if name.lower() not in aside}
            answer = requests.request(self.command, behind + self.path, data=body, headers=kept, timeout=60)
            self.reply(answer.status_code, answer.content)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":  # an empty file is sent in chunks
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    return Gate


def test_the_environment_has_the_password_or_the_token(
    gate: str, captioner: Path, white_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gate)
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as caught:
        open_store()
    assert "\n" not in str(caught.value)

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with stage_run("evaluate", {"seed": {"seed": 1}}) as run:
        run.tag("dataset", "scenes")
        run.tag("evaluated_on.fingerprint", "the same")
        log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5})
    assert run.client.get_run(run.parent_id).data.metrics["test/beam/cider"] == 0.5

    for name in GIVEN[:2]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    assert register() == 1
    found = resolve("models:/captioner@challenger").folder
    assert (found / "weights.safetensors").read_bytes() == (captioner / "weights.safetensors").read_bytes()
