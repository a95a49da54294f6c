"""The web page under load: many users for minutes, with errors, latency, back-pressure and memory.

    python benchmarks/page_load.py --captioner models/stage2 [--users 50] [--minutes 10] [--port 7898]

Starts ``wordgaze app``. Each user uploads a picture, asks for its caption as the page does, through the queue, waits
for a second, and begins again. An answer of 429 or 503 that says when to come back is back-pressure, and the user
comes back then; every other answer than a caption is an error.
"""

import argparse
import json
import statistics
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import psutil
from app import SMALL, Client, page, random_image

PAUSE = 1  # seconds between a caption and the next upload
INTERVAL = 30  # seconds between two lines
NUM_PICTURES = 64


class Load:
    """What the users have met so far."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.latencies: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self._lock = Lock()

    def user(self, address: str, pictures: list[bytes], number: int) -> None:
        """One user, until the end."""
        client, turn = Client(address), number
        time.sleep(number * PAUSE / 50)
        while time.monotonic() < self.end:
            turn += 1
            pause, started = float(PAUSE), time.monotonic()
            try:
                # Bytes after the end of a JPEG make it another file: no upload comes from a cache.
                client.caption(client.upload(pictures[turn % len(pictures)] + json.dumps([number, turn]).encode()))
                outcome = "captions"
            except urllib.error.HTTPError as error:
                wait = error.headers.get("Retry-After")
                outcome = f"{error.code} with Retry-After" if wait else f"error {error.code}"
                pause = float(wait or PAUSE)
            except (OSError, SystemExit) as error:
                outcome = f"error {type(error).__name__}: {error}"[:200]
            with self._lock:
                self.outcomes[outcome] += 1
                if outcome == "captions":
                    self.latencies.append(time.monotonic() - started)
            time.sleep(pause)


def memory(process: psutil.Process) -> float:
    """The resident memory of a process and its children, MiB."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captioner", type=Path, default=Path("models/stage2"), help="a captioner folder")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--port", type=int, default=7898)
    args = parser.parse_args()
    pictures = [random_image(number, SMALL) for number in range(NUM_PICTURES)]
    with page(args.captioner, args.port) as (address, pid), ThreadPoolExecutor(args.users) as pool:
        process, started = psutil.Process(pid), time.monotonic()
        load = Load(started + 60 * args.minutes)
        users = [pool.submit(load.user, address, pictures, number) for number in range(args.users)]
        while not all(user.done() for user in users):
            time.sleep(min(INTERVAL, max(1, load.end - time.monotonic())))
            print(f"{time.monotonic() - started:5.0f} s  {memory(process):6.0f} MiB  {dict(load.outcomes)}", flush=True)
        for user in users:
            user.result()
        quantiles = statistics.quantiles(load.latencies, n=100)
        print(f"captions {len(load.latencies)}, {len(load.latencies) / (60 * args.minutes):.1f} per second")
        print("latency with upload  " + ", ".join(f"p{n} {quantiles[n - 1]:.2f} s" for n in (50, 90, 95, 99)))


if __name__ == "__main__":
    main()
