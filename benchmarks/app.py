"""How long a person waits for the page: alone, and as one of many; and what memory it takes.

Starts ``wordgaze app`` with a captioner folder and asks it as a program does, by way of the queue that the page's own
requests go through. The photographs are noise of 2 megapixels, each another one, so that none is known already.

    python benchmarks/app.py --captioner models/stage2 [--users 20] [--pictures 500] [--port 7899]
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
SIZE = (1632, 1224)  # pixels: 2 megapixels
SMALL = (640, 480)
PATIENCE = 300  # seconds
RUNS = 10


def photograph(number: int, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG of soft noise."""
    noise = np.random.default_rng(number).integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


class Visitor:
    """Somebody who asks the page at ``address``."""

    def __init__(self, address: str) -> None:
        self.root = f"{address}/gradio_api"

    def upload(self, picture: bytes) -> dict[str, str]:
        """Brings a picture there."""
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
        kind = "multipart/form-data; boundary=x"
        return {"path": json.loads(self._post("upload", body + picture + b"\r\n--x--\r\n", kind))[0]}

    def caption(self, picture: dict[str, str]) -> float:
        """The seconds until a caption by beam search of width 5 is there."""
        data = json.dumps({"data": [picture, "", ["beam"], {"num_beams": 5}, 0]}).encode()
        started = time.perf_counter()
        event = json.loads(self._post("call/caption", data, "application/json"))["event_id"]
        with urllib.request.urlopen(f"{self.root}/call/caption/{event}", timeout=PATIENCE) as stream:
            told = stream.read().decode()
        if "event: complete" not in told:
            raise SystemExit(f"the page answered: {told}")
        return time.perf_counter() - started

    def _post(self, path: str, body: bytes, kind: str) -> bytes:
        request = urllib.request.Request(f"{self.root}/{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer: bytes = response.read()
        return answer


@contextmanager
def page(captioner: Path, port: int) -> Iterator[tuple[str, int]]:
    """The address of the page, and the number of its process."""
    command = [sys.executable, "-c", "from wordgaze.cli import main; main()", "app", "--port", str(port)]
    process = subprocess.Popen([*command, "--model", str(captioner)], env={**os.environ, "PYTHONPATH": str(SOURCE)})
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit("the page did not start")
            try:
                urllib.request.urlopen(address, timeout=PATIENCE).close()
                break
            except urllib.error.URLError:
                time.sleep(0.5)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def memory(process: int) -> float:
    """What a process holds, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captioner", type=Path, default=Path("models/stage2"))
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--port", type=int, default=7899)
    options = parser.parse_args()
    with page(options.captioner, options.port) as (address, process):
        visitor = Visitor(address)
        for number in range(3):
            visitor.caption(visitor.upload(photograph(number)))
        alone = [visitor.caption(visitor.upload(photograph(10 + number))) for number in range(RUNS)]
        print(f"first caption, alone      median {statistics.median(alone):.2f} s, worst {max(alone):.2f} s")
        uploads = [visitor.upload(photograph(100 + number)) for number in range(options.users)]
        with ThreadPoolExecutor(options.users) as crowd:
            waits = sorted(crowd.map(visitor.caption, uploads))
        p95 = waits[min(len(waits) - 1, round(0.95 * len(waits)))]
        print(
            f"{options.users} at once                median {statistics.median(waits):.2f} s, p95 {p95:.2f} s, no error"
        )
        print(f"memory                    {memory(process):.0f} MiB")
        for number in range(options.pictures):
            visitor.caption(visitor.upload(photograph(1000 + number, SMALL)))
            if (number + 1) % max(1, options.pictures // 5) == 0:
                print(f"after {number + 1:>4} pictures       {memory(process):.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
