"""Ray and Spark on this machine: a worker is killed in the middle, and the output is that of one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.batch.conftest import NUM_IMAGES

KILLING = "05.png"  # who asks for it is killed, once
ENGINES = {"ray": "ray", "spark": "pyspark"}


class Server(ThreadingHTTPServer):
    """Serves the pictures of a folder, and kills the process that asks first for KILLING."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.killed = folder, []  # type: tuple[Path, list[int]]

    def kill(self, port: int) -> None:
        """Kills the process whose connection has this port."""
        me = psutil.Process()
        for process in me.children(recursive=True):
            if any(each.laddr.port == port for each in process.net_connections()):
                self.killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        if name == KILLING and not self.server.killed:
            self.server.kill(self.client_address[1])
            return
        data = (self.server.folder / name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(photos: Path) -> Iterator[Server]:
    server = Server(photos)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home and a folder for sockets, whose path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="wg"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_costs_no_image_and_repeats_none(
    engine: str, server: Server, captioner: Path, tmp_path: Path, home: Path
) -> None:
    if find_spec(ENGINES[engine]) is None:
        pytest.skip(f'{ENGINES[engine]} is not installed; pip install "wordgaze[{engine}]"')
    address = f"http://127.0.0.1:{server.server_port}"
    names = [f"{number:02}.png" for number in range(NUM_IMAGES)]
    (tmp_path / "list.txt").write_text("".join(f"{address}/{name}\n" for name in names), encoding="utf-8")

    def caption(output: str, *options: str) -> str:
        command = [
            sys.executable, "-m", "wordgaze", "caption-many", "list.txt", "-o", output, "--model", str(captioner),
            "--partition-size", "4", "--strategy", "sample", "--seed", "7", *options,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, env=environment(home), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    counted = f"{NUM_IMAGES - 1} images captioned; 1 could not be captioned"
    assert caption("many", "--engine", engine).startswith(f"many: {counted}")
    assert server.killed
    assert caption("one").startswith(f"one: {counted}")
    for table in ("captions", "failures"):
        many, one = (pd.read_parquet(tmp_path / output / table) for output in ("many", "one"))
        pd.testing.assert_frame_equal(many, one, rtol=1e-4)
    assert [*many["name"]] == ["02.png"]
    card = json.loads((tmp_path / "many" / "run.json").read_text(encoding="utf-8"))
    assert card == json.loads((tmp_path / "one" / "run.json").read_text(encoding="utf-8"))


def environment(home: Path) -> dict[str, str]:
    """This environment with wordgaze on the path of the workers, and nothing written to the user's home."""
    source = Path(__file__).parents[2] / "src"
    path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "HOME": str(home), "RAY_TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
