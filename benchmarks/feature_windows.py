"""How long training waits for features at a slow address: rows read at random, and windows of whole shards.

    python benchmarks/feature_windows.py [--images 1000] [--megabytes-per-second 75] [--images-per-second 120]

Random features of the size of the recipe flickr8k_best lie at an address that gives so many bytes per second, whoever
asks for them, as a network store does. An epoch over the images is read in batches, each followed by a pause as long as
a training step takes. At random, a step waits for the rows of its batch, as it does where shards on a network disk are
mapped. In windows, shards are read through the cache of an address, which begins empty, by threads that are ahead of
the steps.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
from feature_formats import FORMATS, stored_as
from feature_training import CELLS, CHANNELS, RECIPE_SPEC
from fsspec.implementations.local import LocalFileSystem
from torch import Tensor
from training import IMAGES, Synthetic

from wordgaze.core.checksums import read_checksums, write_checksums
from wordgaze.core.files import read_json, write_json
from wordgaze.training.batches import Batch, BatchLoader
from wordgaze.vision.feature_store import FeatureStore


class Link:
    """Gives so many bytes per second, one request after the other."""

    bytes_per_second = 75e6
    _lock = threading.Lock()

    @classmethod
    def take(cls, size: int) -> None:
        with cls._lock:
            time.sleep(size / cls.bytes_per_second)


class LimitedFileSystem(LocalFileSystem):  # type: ignore[misc]
    """Files of this machine behind the link."""

    protocol = "limited"

    def get_file(self, path1: str, path2: str, **options: Any) -> None:
        Link.take(Path(path1).stat().st_size)
        super().get_file(path1, path2, **options)


class LimitedRows:
    """A store whose rows are read through the link when they are asked for."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def read(self, images: Sequence[str]) -> Tensor:
        Link.take(len(images) * self.store.bytes_per_picture)
        return self.store.read(images)


def move_away(folder: Path, bucket: Path) -> FeatureStore:
    """The store with its shards at the address."""
    bucket.mkdir()
    for name, checksum in read_checksums(folder).items():
        if name.startswith("shard-"):
            (folder / name).rename(bucket / f"{checksum}.safetensors")
    manifest = read_json(folder / "manifest.json", "")
    write_json(folder / "manifest.json", {**manifest, "address": f"limited://{bucket}"})
    checksums = {name: value for name, value in read_checksums(folder).items() if name != "manifest.json"}
    write_checksums(folder, [*checksums, "manifest.json"], checksums)
    return FeatureStore(folder)


def waited(batches: Iterator[Batch], pause: float) -> list[float]:
    """The seconds for which each step waited for its batch."""
    waits, started = [], time.perf_counter()
    for _ in batches:
        waits.append(time.perf_counter() - started)
        time.sleep(pause)
        started = time.perf_counter()
    return waits


def show(way: str, waits: list[float], pause: float) -> None:
    seconds = sum(waits) + len(waits) * pause
    share = f"{sum(waits) / seconds:4.0%} ({waits[0]:.1f} s for the first)"
    print(f"{way:32} {seconds:5.1f} s, of which the steps wait {share}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--megabytes-per-second", type=float, default=75, help="of the address")
    parser.add_argument("--images-per-second", type=float, default=120, help="of the training steps")
    parser.add_argument("--shard-size", type=int, default=32)
    parser.add_argument("--window", type=int, default=2, help="shards in a window")
    parser.add_argument("--work", type=Path, help="where the features are written, for a while")
    args = parser.parse_args()
    Link.bytes_per_second = args.megabytes_per_second * 1e6
    fsspec.register_implementation("limited", LimitedFileSystem)
    data, pause = Synthetic(CELLS, CHANNELS, args.images), IMAGES / args.images_per_second
    images = [example.image for example in data.examples]
    print(f"{args.images} images, {args.megabytes_per_second:g} MB/s, steps of {args.images_per_second:g} images/s")
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        os.environ["DVC_ROOT"] = work  # the cache lies there
        for dtype in FORMATS[:2]:
            store = stored_as(dtype, data, RECIPE_SPEC, images, Path(work) / dtype, args.shard_size)
            rows = BatchLoader(data.examples, LimitedRows(store), IMAGES, 1)
            show(f"{dtype}, rows at random", waited(rows.epoch(0), pause), pause)
            away = move_away(Path(work) / dtype, Path(work) / f"{dtype}-bucket")
            windows = BatchLoader(data.examples, away, IMAGES, 1)
            windows.shuffle_in(args.window)
            show(
                f"{dtype}, windows of {args.window} of {away.num_shards} shards", waited(windows.epoch(0), pause), pause
            )


if __name__ == "__main__":
    main()
