"""The latency of the web page for one user and for many at once, and its memory.

    python benchmarks/app.py --captioner models/stage2 [--users 20] [--images 500] [--port 7899]

Starts ``wordgaze app`` with a captioner folder and sends requests to its API, which pass through the same queue as
those of the page. The images are noise of 2 megapixels; all are different, so that no caption comes from a cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path(__file__).parents[1] / "src"
LARGE = (1632, 1224)  # pixels: 2 megapixels
SMALL = (640, 480)
TIMEOUT = 300  # seconds
RUNS = 10
WARM_UP = 3  # requests


def random_image(seed: int, size: tuple[int, int] = LARGE) -> bytes:
    """A JPEG file of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


class Client:
    """A client of the page's API at ``address``."""

    def __init__(self, address: str) -> None:
        self.root = f"{address}/gradio_api"

    def upload(self, image: bytes) -> dict[str, str]:
        """Uploads an image; returns the reference that :meth:`caption` takes."""
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
        content_type = "multipart/form-data; boundary=x"
        return {"path": json.loads(self._post("upload", body + image + b"\r\n--x--\r\n", content_type))[0]}

    def caption(self, image: dict[str, str]) -> float:
        """Requests a caption by beam search of width 5; returns the latency in seconds."""
        data = json.dumps({"data": [image, "", ["beam"], {"num_beams": 5}, 0]}).encode()
        started = time.perf_counter()
        event = json.loads(self._post("call/caption", data, "application/json"))["event_id"]
        with urllib.request.urlopen(f"{self.root}/call/caption/{event}", timeout=TIMEOUT) as stream:
            events = stream.read().decode()
        if "event: complete" not in events:
            raise SystemExit(f"the page answered: {events}")
        return time.perf_counter() - started

    def _post(self, path: str, body: bytes, content_type: str) -> bytes:
        request = urllib.request.Request(f"{self.root}/{path}", body, {"Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer: bytes = response.read()
        return answer


@contextmanager
def page(captioner: Path, port: int) -> Iterator[tuple[str, int]]:
    """Runs the page; yields its address and the id of its process."""
    command = [sys.executable, "-c", "from wordgaze.cli import main; main()", "app", "--port", str(port)]
    process = subprocess.Popen([*command, "--model", str(captioner)], env={**os.environ, "PYTHONPATH": str(SOURCE)})
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit("the page did not start")
            try:
                urllib.request.urlopen(address, timeout=TIMEOUT).close()
                break
            except urllib.error.URLError:
                time.sleep(0.5)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def resident_memory(pid: int) -> float:
    """The resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captioner", type=Path, default=Path("models/stage2"), help="a captioner folder")
    parser.add_argument("--users", type=int, default=20, help="number of requests at once")
    parser.add_argument("--images", type=int, default=500, help="number of images captioned to observe the memory")
    parser.add_argument("--port", type=int, default=7899)
    args = parser.parse_args()
    with page(args.captioner, args.port) as (address, pid):
        client = Client(address)
        for number in range(WARM_UP):
            client.caption(client.upload(random_image(number)))
        latencies = [client.caption(client.upload(random_image(10 + number))) for number in range(RUNS)]
        print(f"one user                  median {statistics.median(latencies):.2f} s, maximum {max(latencies):.2f} s")
        uploads = [client.upload(random_image(100 + number)) for number in range(args.users)]
        with ThreadPoolExecutor(args.users) as pool:
            latencies = sorted(pool.map(client.caption, uploads))
        p95 = latencies[min(len(latencies) - 1, round(0.95 * len(latencies)))]
        print(f"{args.users:<3} users at once         median {statistics.median(latencies):.2f} s, p95 {p95:.2f} s")
        print(f"memory                    {resident_memory(pid):.0f} MiB")
        for number in range(args.images):
            client.caption(client.upload(random_image(1000 + number, SMALL)))
            if (number + 1) % max(1, args.images // 5) == 0:
                print(f"after {number + 1:>4} images         {resident_memory(pid):.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
