"""The memory that the stage features takes for more and more images, without images and with an encoder that computes
next to nothing: keys, shards, contract, index; and then a reader of random batches.

    python benchmarks/feature_memory.py [--images 10000 100000 1000000] [--work FOLDER]

Each number of images runs in a process of its own. The memory is the greatest resident set above that of the process
after its imports; mapped files count in it. Then ten images are added.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.data.contracts import check
from wordgaze.stages import features as stage
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.feature_shards import ShardFolder, write_shards
from wordgaze.vision.feature_store import FeatureStore, write_manifest
from wordgaze.vision.picture_keys import KEY_BYTES, PictureKeys

HALF = (0.5, 0.5, 0.5)
NETWORK = NetworkSpec(name="timm/test_efficientnet", mean=HALF, std=HALF, layers=("",), channels=64)
SPEC = EncoderSpec(image_size=64, interpolation="bicubic", grid=(2, 2), networks=(NETWORK,))
ADDED = 10


def encode(names: Sequence[str], keys: Sequence[bytes]) -> Tensor:
    """Features (N, 4, 64) from the keys: 512 bytes in bf16."""
    values = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 1, KEY_BYTES).astype(np.float32)
    return torch.from_numpy(values).repeat(1, 4, 2).to(torch.bfloat16)


def keys_of(names: Sequence[str]) -> NDArray[np.uint8]:
    keys = np.empty((len(names), KEY_BYTES), np.uint8)
    for number, name in enumerate(names):
        keys[number] = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint8)
    return keys


def peak() -> float:
    """The greatest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def compute(
    names: Sequence[str], folder: Path, previous: Path = Path("none"), done: Callable[[str], None] = lambda part: None
) -> int:
    """As the stage does; returns the number of images that were computed."""
    pictures = PictureKeys.of(names, keys_of(names), 256)
    done("keys")
    known = [ShardFolder.open(previous)] if previous.exists() else []
    computed = write_shards(folder, pictures, "bf16", encode, known)
    done("shards")
    check("features", stage._table(folder, pictures))
    done("contract")
    write_manifest(folder, SPEC, "", pictures, "bf16", {})
    done("index")
    return computed


def run(count: int, work: Path) -> None:
    """Prints the peaks after each part, in MB, as JSON."""
    torch.set_num_threads(1)
    compute(["a"], work / "one")  # imports pandas, great-expectations and pyarrow
    before, started, peaks = peak(), time.perf_counter(), dict[str, float]()
    names = [f"images/{number:09d}.jpg" for number in range(count)]
    computed = compute(names, work / "features", work / "previous", lambda part: peaks.update({part: peak() - before}))
    seconds = time.perf_counter() - started
    store, random = FeatureStore(work / "features"), np.random.default_rng(1)
    for _ in range(200):
        store.read([names[i] for i in random.integers(count, size=16)])
    peaks["reading"] = peak() - before
    print(json.dumps({"images": count, "computed": computed, "seconds": seconds, "imports": before, **peaks}))


def measure(count: int, folder: Path) -> None:
    command = [sys.executable, __file__, "--run", str(count), "--work", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    shown = ", ".join(f"{name} {result[name]:.0f}" for name in ("keys", "shards", "contract", "index", "reading"))
    print(
        f"{count:9,} images, {result['computed']:9,} computed in {result['seconds']:6.1f} s; MB after {shown}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="where the shards are written, for a while")
    args = parser.parse_args()
    if args.run:
        run(args.run, args.work)
        return
    for count in args.images:
        with tempfile.TemporaryDirectory(dir=args.work) as folder:
            measure(count, Path(folder))
            Path(folder, "features").rename(Path(folder, "previous"))
            measure(count + ADDED, Path(folder))


if __name__ == "__main__":
    main()
