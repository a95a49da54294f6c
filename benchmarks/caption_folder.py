"""Captions a folder of generated photographs, some of them broken, and is killed twice on the way.

    python benchmarks/caption_folder.py --model models/stage2

Prints the rows after each of the three runs. The first two are ended by SIGKILL after a third and after two thirds of
the images; the third one continues. At the end every image that is not broken must have one row and one sidecar with
the same caption, as ElementTree reads it. Exits with 1 otherwise.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

SIZE = (320, 240)  # pixels
PER_FOLDER = 500
ITEM = ".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
POLL_SECONDS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--model", help="a captioner folder; by default the one that wordgaze caption takes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), args.images, args.broken, ["--model", args.model] if args.model else [])


def measure(folder: Path, num_images: int, num_broken: int, options: list[str]) -> int:
    photos, table = folder / "photos", folder / "captions.csv"
    good = write_photographs(photos, num_images, num_broken)
    arguments = [str(photos), "--output", str(table), "--sidecar", "xmp", "--strategy", "greedy", *options]
    command = [sys.executable, "-m", "wordgaze", "caption", *arguments]
    began = time.monotonic()
    for number, share in enumerate((1 / 3, 2 / 3), start=1):
        rows = killed_run(command, table.with_name(f"{table.name}.part"), round(share * len(good)))
        print(f"run {number}: killed with {rows} rows after {time.monotonic() - began:.1f} s", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    print(f"run 3: exit code {done.returncode} after {seconds:.1f} s; {done.stderr.splitlines()[-1]}")
    with table.open(encoding="utf-8", newline="") as file:
        captions = [(row["path"], row["caption"]) for row in csv.DictReader(file) if not row["error"]]
    repeated = sum(count > 1 for count in Counter(path for path, _ in captions).values())
    missing = len(good - {path for path, _ in captions})
    unlike = sum(sidecar(path) != caption for path, caption in captions)
    print(
        f"{num_images} photographs, {num_broken} broken: {len(captions)} rows, {repeated} of them twice, "
        f"{missing} missing, {unlike} sidecars unlike their rows; {len(captions) / seconds:.1f} images/s in three runs"
    )
    return int(bool(repeated or missing or unlike or len(captions) != len(good)))


def write_photographs(folder: Path, num_images: int, num_broken: int) -> set[str]:
    """Noise over a gradient in subfolders. Every so often one is cut off; the paths of the others are returned."""
    generator = np.random.default_rng(7)
    noise = generator.integers(0, 64, (SIZE[1], 2 * SIZE[0], 3), dtype=np.uint8)
    broken = set(range(0, num_images, -(-num_images // max(num_broken, 1)))) if num_broken else set()
    broken |= set(range(1, 1 + num_broken - len(broken)))
    good = set()
    for number in range(num_images):
        path = folder / f"{number // PER_FOLDER:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        start = generator.integers(SIZE[0])
        pixels = noise[:, start : start + SIZE[0]] + generator.integers(0, 192, 3, dtype=np.uint8)
        Image.fromarray(pixels).save(path, quality=80)
        if number in broken:
            path.write_bytes(path.read_bytes()[:1000])
        else:
            good.add(str(path))
    return good


def killed_run(command: list[str], journal: Path, rows: int) -> int:
    """Runs the command, kills it when the journal has so many rows, and returns how many it has then."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and count_rows(journal) < rows:
            time.sleep(POLL_SECONDS)
        process.kill()
    return count_rows(journal)


def count_rows(journal: Path) -> int:
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def sidecar(path: str) -> str | None:
    """The description in the sidecar of an image."""
    item = ElementTree.parse(f"{path}.xmp").find(ITEM)
    return None if item is None else item.text


if __name__ == "__main__":
    sys.exit(main())
