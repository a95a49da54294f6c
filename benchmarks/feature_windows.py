"""How long training waits for features that are not in memory: read at random, and in windows of shards.

    python benchmarks/feature_windows.py [--root .] [--split dev] [--images-per-second 120]

Needs a project with features. An epoch over the images of a split is read in batches, each followed by a pause as long
as a training step takes. The system is asked to drop the shards from its cache before every epoch, as if they were
larger than the memory.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.prepared import Prepared
from wordgaze.training.batches import Batch, BatchLoader, Example
from wordgaze.vision.feature_store import FeatureStore

BATCH = 16


def dropped(folder: Path) -> None:
    """Drops the shards of a folder from the cache of the disk."""
    for path in folder.glob("shard-*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def waited(batches: Iterator[Batch], pause: float) -> tuple[float, float]:
    """The seconds for which the steps waited for their batch: in all, and of the first step."""
    waits, started = [], time.perf_counter()
    for _ in batches:
        waits.append(time.perf_counter() - started)
        time.sleep(pause)
        started = time.perf_counter()
    return sum(waits), waits[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project")
    parser.add_argument("--split", choices=["train", "dev", "test"], default="dev")
    parser.add_argument("--images-per-second", type=float, default=120, help="the speed of the training steps")
    parser.add_argument("--window", type=int, default=1, help="shards in a window")
    args = parser.parse_args()
    images = sorted(Prepared.load(args.root / "data/prepared").captions[args.split])
    folder, pause = args.root / "data/features", BATCH / args.images_per_second
    examples = [Example(image, ((1,),)) for image in images]
    steps = len(images) / args.images_per_second
    for way, window in (("at random", 0), (f"in windows of {args.window}", args.window)):
        for epoch in range(3):
            dropped(folder)
            store = FeatureStore(folder)  # anew: what is mapped cannot be dropped
            loader = BatchLoader(examples, store, BATCH, 1)
            loader.shuffle_in(window)
            wait, first = waited(loader.epoch(epoch), pause)
            print(
                f"{way}: {steps:.1f} s of steps, waited {wait:.2f} s, of that {first:.2f} s for the first", flush=True
            )


if __name__ == "__main__":
    main()
