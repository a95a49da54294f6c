"""Real S3 clients against servers of this machine: one that is busy, and a run from a bucket into a bucket."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.batch.conftest import NUM_IMAGES
from wordgaze.batch.caption_many import BatchOptions, caption_many
from wordgaze.core import storage
from wordgaze.core.storage import read_bytes
from wordgaze.generation.config import GenerationConfig

GREEDY = GenerationConfig(strategy="greedy", max_new_tokens=4)


class Busy(BaseHTTPRequestHandler):
    """An S3 server with one object, which answers 503 to the first three requests."""

    requests = 0

    def do_GET(self) -> None:
        Busy.requests += 1
        is_busy = Busy.requests <= 3
        body = b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>" if is_busy else b"an image"
        self.send_response(503 if is_busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason='the extra "remote" is not installed')
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    storage._system.cache_clear()


@pytest.fixture
def busy(keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore")  # of the client's open connections
@pytest.mark.usefixtures("busy")
def test_a_bucket_that_answers_503_is_read_in_the_end() -> None:
    assert read_bytes("s3://team/a.jpg") == b"an image"
    assert Busy.requests > 3


@pytest.fixture
def s3(keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server on this machine, which has the bucket ``team``."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="team")
    yield client
    server.stop()


@pytest.mark.filterwarnings("ignore")
def test_a_bucket_of_s3_is_captioned_into_the_bucket(s3: Any, photos: Path, captioner: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        s3.upload_file(str(path), "team", f"photos/{path.name}")
    options = BatchOptions(partition_size=6)
    done = caption_many(["s3://team/photos"], "s3://team/out", captioner, GREEDY, options=options)
    assert done == (NUM_IMAGES - 1, 1, "s3://team/out/failures")
    s3.download_file("team", "out/captions/part-00000.parquet", str(tmp_path / "part.parquet"))
    captions = pd.read_parquet(tmp_path / "part.parquet")
    assert list(captions["path"]) == [f"s3://team/photos/{number:02}.png" for number in range(6) if number != 2]
    assert caption_many(["s3://team/photos"], "s3://team/out", captioner, GREEDY, options=options) == done
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")
