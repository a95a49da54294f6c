"""The HTTP server with many users: requests per second and latencies with and without micro-batching, and under load.

    python benchmarks/serving.py [--captioner photos] [--users 20] [--seconds 30]
    python benchmarks/serving.py --load 10 [--users 50] [--picture serving-load.png]

The first form serves the captioner one image at a time and in batches, in turns, and prints both. The second form lets
the users ask for so many minutes, also for what is refused, and prints errors, latencies and the memory of the server;
``--picture`` draws the memory. The images are noise of 640 by 480 pixels; all are different.
"""

import argparse
import base64
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

SOURCE = Path(__file__).parents[1] / "src"
COMMAND = "import sys; from wordgaze.cli import main; sys.argv[0] = 'wordgaze'; main()"
SIZE = (640, 480)
IMAGES = 200
REFUSED = ({"num_return_sequences": 10_000, "strategy": "sample"}, {"num_beams": 0}, {"temperature": 1e-320})


def request_body(seed: int, params: dict[str, object]) -> bytes:
    """A request for the caption of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    image = base64.b64encode(file.getvalue()).decode()
    return json.dumps({"dataframe_records": [{"image": image}], "params": params}).encode()


@contextmanager
def server(captioner: str, *options: str) -> Iterator[tuple[int, psutil.Process]]:
    """``wordgaze serve`` on a free port: the port and the process. It must end with status 0."""
    command = [sys.executable, "-c", COMMAND, "serve", "--model", captioner, "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", "WORDGAZE_RATE": "0"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    line = process.stdout.readline()
    reader = threading.Thread(target=lambda: [None for _ in process.stdout or ()], daemon=True)
    reader.start()
    try:
        yield int(line.split(":")[-1].split("/")[0]), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(90)
    print(f"  the server ended with status {status}")


class Users:
    """Users who ask one request after the other until ``seconds`` are over; what they saw."""

    def __init__(self, port: int, number: int, seconds: float, bodies: list[bytes]) -> None:
        self.port, self.bodies, self.end = port, bodies, time.monotonic() + seconds
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(number)]
        for thread in threads:
            thread.start()
        self.threads = threads

    def _ask(self, seed: int) -> None:
        chosen = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while time.monotonic() < self.end:
            started = time.perf_counter()
            try:
                connection.request(
                    "POST", "/invocations", chosen.choice(self.bodies), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                status = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                status = type(error).__name__
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(time.perf_counter() - started)

    def wait(self) -> None:
        for thread in self.threads:
            thread.join()

    def percentile(self, share: float) -> float:
        return 1000 * sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def compare(captioner: str, number: int, seconds: float) -> None:
    """Prints the throughput and the latencies one by one and in batches; each is measured twice, in turns."""
    bodies = [request_body(seed, {}) for seed in range(IMAGES)]
    for round_ in range(2):
        for name, options in (("one by one", ("--batch-size", "1")), ("batches of up to 16", ())):
            with server(captioner, *options) as (port, _):
                Users(port, 4, 5, bodies).wait()  # warm up
                users = Users(port, number, seconds, bodies)
                users.wait()
            print(
                f"{name:20} {number} users, round {round_ + 1}: {len(users.seconds) / seconds:6.1f} requests/s, "
                f"p50 {users.percentile(0.5):6.0f} ms, p95 {users.percentile(0.95):6.0f} ms, {dict(users.statuses)}"
            )


def load(captioner: str, number: int, minutes: float, picture: Path | None) -> None:
    """Prints errors, latencies and memory under a mixed load; draws the memory."""
    bodies = [request_body(seed, {}) for seed in range(IMAGES)]
    bodies += [request_body(seed, {"num_return_sequences": 3, "strategy": "beam"}) for seed in range(20)]
    bodies += [request_body(0, params) for params in REFUSED] + [b'{"instances": ["aGVsbG8="]}', b"{"]
    with server(captioner) as (port, process):
        Users(port, 4, 5, bodies).wait()
        users, started, memory = Users(port, number, 60 * minutes, bodies), time.monotonic(), []
        while any(thread.is_alive() for thread in users.threads):
            memory.append(((time.monotonic() - started) / 60, process.memory_info().rss / 2**20))
            time.sleep(1)
        users.wait()
    print(f"{number} users, {minutes:g} minutes: {sum(users.statuses.values())} requests, {dict(users.statuses)}")
    print("  " + ", ".join(f"p{int(100 * share)} {users.percentile(share):.0f} ms" for share in (0.5, 0.95, 0.99)))
    third = len(memory) // 3
    parts = [statistics.mean(mebibytes for _, mebibytes in memory[i * third : (i + 1) * third]) for i in range(3)]
    print(f"  memory in thirds of the time: {', '.join(f'{part:.0f}' for part in parts)} MiB")
    if picture:
        draw(memory, number, picture)


def draw(memory: list[tuple[float, float]], number: int, path: Path) -> None:
    """Draws the memory over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*memory, strict=True))
    axes.set(xlabel="minutes", ylabel="memory of the server, MiB", title=f"{number} users", ylim=(0, None))
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", default="photos")
    parser.add_argument("--users", type=int)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--load", type=float, metavar="MINUTES")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    if given.load:
        load(given.captioner, given.users or 50, given.load, given.picture)
    else:
        compare(given.captioner, given.users or 20, given.seconds)


if __name__ == "__main__":
    main()
