"""Captions generated pictures by one process, by Ray and by Spark, and kills a worker of each engine in the middle.

    python benchmarks/caption_engines.py --model models/stage2

Ray and Spark are clusters of this machine: an actor for each core, and an executor with one core for each core. Once a
third of the partitions is written, an actor of Ray and an executor of Spark are killed by SIGKILL. Every picture must
then have one row, and the rows must be those of one process. Exits with 1 otherwise. Spark leaves the
executors' logs in the folder ``work`` of its package.

"images/s" is from the start of the command to its end; "steady" leaves out the time up to the first partition, and
"to one process" is the ratio of the steady rates.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image, ImageDraw

from wordgaze.core.parallel import available_cpus

SIDE = 128  # pixels
PER_FOLDER = 1000
POLL_SECONDS = 0.2
PROCESSES = {"ray": "ray::MapWorker(MapBatches(_CaptionerActor))", "spark": "CoarseGrainedExecutorBackend"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--partition-size", type=int, default=500)
    parser.add_argument("--model", default="photos", help="a captioner folder")
    parser.add_argument("--engines", nargs="*", default=["ray", "spark"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", args.pictures)
        options = ["--model", args.model, "--strategy", "greedy", "--partition-size", str(args.partition_size)]
        runs = {engine: measure(folder, engine, args.pictures, options) for engine in ["local", *args.engines]}
        expected, wrong = runs["local"][0], 0
        print(f"{args.pictures} pictures of {SIDE} x {SIDE}, greedy, {available_cpus()} cores")
        print("engine  rows    twice  missing  other words  log_prob differs by  images/s  steady  to one process")
        for engine, (rows, rate, steady) in runs.items():
            twice, missing, other, difference = compare(rows, expected, args.pictures)
            wrong += twice + missing + other
            print(
                f"{engine:7} {len(rows):6}  {twice:5}  {missing:7}  {other:11}  {difference:19.1e}  {rate:8.1f}  "
                f"{steady:6.1f}  {steady / runs['local'][2]:14.2f}"
            )
    return int(wrong > 0)


def write_pictures(folder: Path, number: int) -> None:
    """Shapes of random colours, sizes and places, the same on every machine."""
    generator = np.random.default_rng(11)
    for index in range(number):
        path = folder / f"{index // PER_FOLDER:03}" / f"{index:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (SIDE, SIDE), tuple(generator.integers(0, 256, 3).tolist()))
        draw = ImageDraw.Draw(picture)
        for _ in range(4):
            x, y, width, height = generator.integers(4, SIDE // 2, 4).tolist()
            shape = (draw.ellipse, draw.rectangle)[int(generator.integers(2))]
            shape((x, y, x + width, y + height), fill=tuple(generator.integers(0, 256, 3).tolist()))
        picture.save(path, quality=85)


def measure(folder: Path, engine: str, number: int, options: list[str]) -> tuple[pd.DataFrame, float, float]:
    """The rows, and images per second in all and after the first partition."""
    output, cores = folder / engine, available_cpus()
    cluster = ["--cluster", f"local-cluster[{cores},1,2048]"] if engine == "spark" else []
    arguments = [str(folder / "pictures"), "--output", str(output), "--engine", engine, *cluster, *options]
    # Workers are processes of their own, and so find wordgaze by the environment.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path[1:] if path),
    }
    began = time.time()
    with (folder / f"{engine}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wordgaze", "caption-many", *arguments],
            stdout=log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        if engine in PROCESSES:
            kill_one(process, PROCESSES[engine], output / "captions", partitions(number, options) // 3)
        code = process.wait()
    seconds = time.time() - began
    if code:
        sys.exit((folder / f"{engine}.log").read_text()[-2000:])
    parts = sorted((output / "captions").iterdir(), key=lambda path: path.stat().st_mtime)
    first = len(pd.read_parquet(parts[0]))
    steady = (number - first) / (parts[-1].stat().st_mtime - parts[0].stat().st_mtime)
    return pd.read_parquet(output / "captions"), number / seconds, steady


def partitions(number: int, options: list[str]) -> int:
    return -(-number // int(options[-1]))


def kill_one(process: "subprocess.Popen[bytes]", name: str, folder: Path, after: int) -> None:
    """Kills one process of this name below ``process`` when the folder has enough files."""
    while process.poll() is None:
        if folder.is_dir() and len(list(folder.glob("part-*"))) >= max(1, after):
            for worker in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):  # it has ended in the meantime
                    if name in " ".join(worker.cmdline()):
                        worker.send_signal(signal.SIGKILL)
                        written = len(list(folder.glob("part-*")))
                        print(f"killed {worker.pid}, {name}, with {written} partitions written", flush=True)
                        return
        time.sleep(POLL_SECONDS)
    print(f"no {name} was there to be killed")


def compare(rows: pd.DataFrame, expected: pd.DataFrame, number: int) -> tuple[int, int, int, float]:
    """Rows whose picture has another row, pictures without a row, rows with other words, and the largest difference of
    log-probabilities."""
    both = rows.drop_duplicates("path").merge(expected, on="path", suffixes=("", "_expected"))
    other = int((both["caption"] != both["caption_expected"]).sum())
    difference = float((both["log_prob"] - both["log_prob_expected"]).abs().max())
    return int(rows["path"].duplicated().sum()), number - len(both), other, difference


if __name__ == "__main__":
    sys.exit(main())
