"""The memory of the stages for data sets of 10,000, 100,000 and a million samples, and its picture.

    python benchmarks/memory_at_scale.py [--samples 10000 100000 1000000] [--picture docs/images/memory-at-scale.svg]
    python benchmarks/memory_at_scale.py --parts evaluate --evaluated 5    # 40,000 images of a million captions

Samples are generated. Those of ``features`` are images, those of the other stages captions, five of an image: a tenth
of the images is the dev split, and one of 25 is evaluated. No image is decoded and no decoder computes: the
features are small, and captions are made up where a decoder would generate them. All else is what the stages do:

- features: keys, shards, contract, index and random reads (``feature_memory.py``)
- prepare: the whole stage, with its contracts and its run in MLflow
- train: what a training holds of its data: captions, references of the dev split, features and batches
- evaluate: greedy and beam search and the baselines, with all scores, intervals and files of the report

Each number of samples runs in a process of its own. The memory is the greatest resident set above that of the same work
on 500 samples, which imports everything.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from feature_memory import compute, peak

from wordgaze.config.params import Params, PrepareParams, load_params
from wordgaze.core import paths
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Record, Split, write_records
from wordgaze.generation.outputs import Caption
from wordgaze.inference import caption_features
from wordgaze.inference.captioner_folder import NO_PARTS
from wordgaze.inference.folder_names import WEIGHTS
from wordgaze.text.vocabulary import SPECIAL
from wordgaze.vision.feature_store import FeatureStore

PARTS = ("features", "prepare", "train", "evaluate")
PER_IMAGE = 5
FEW = 500  # samples of the work that imports everything
NUM_WORDS = 20_000  # of which each is as frequent as words are: the n-th about 1/n as often as the first
NUM_BATCHES = 50
GRID = (7, 7)
CHECKOUT = Path(__file__).parents[1].resolve()


def write_captions(num_captions: int, evaluated: int) -> None:
    """Writes ``data/raw/captions.jsonl``: sentences of 6 to 15 words, which take some beginnings from each other."""
    words = [f"w{number}" for number in range(NUM_WORDS)]
    weights = np.cumsum(1 / np.arange(10, NUM_WORDS + 10)).tolist()
    chance = random.Random(1)
    phrases = [chance.choices(words, cum_weights=weights, k=3) for _ in range(NUM_WORDS)]

    def sentence() -> str:
        number = int(chance.random() ** 3 * NUM_WORDS)
        rest = chance.choices(words, cum_weights=weights, k=chance.randint(3, 12))
        return f"A {' '.join([*phrases[number], *rest])} ."

    def records() -> Iterator[Record]:
        for number in range(num_captions // PER_IMAGE):
            split: Split = "dev" if number % 10 == 0 else "test" if number % evaluated == 1 else "train"
            yield Record(f"{number:09d}.jpg", tuple(sentence() for _ in range(PER_IMAGE)), split)

    paths.RAW.mkdir(parents=True, exist_ok=True)
    write_records(paths.RAW / "captions.jsonl", records())


def features(num_images: int) -> None:
    """Of all images, as the stage writes them; then a training's random batches are read."""
    names = [f"{number:09d}.jpg" for number in range(num_images)]
    compute(names, paths.FEATURES)
    store, chance = FeatureStore(paths.FEATURES), random.Random(1)
    for _ in range(200):
        store.read(chance.choices(names, k=16))


def prepare(num_captions: int) -> None:
    """The stage."""
    from wordgaze.stages import prepare as stage

    stage.run(Params(prepare=PrepareParams(min_count=5)))


def train(num_captions: int) -> None:
    """What a training has of its data while it trains: NUM_BATCHES batches of the first epoch, without a decoder."""
    from wordgaze.training.batches import BatchLoader
    from wordgaze.training.fit import TrainingTask

    params = load_params(CHECKOUT / "params.yaml")
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    task = TrainingTask(prepared, store, params.model, params.train_stage1, params.prepare.max_words, params.seed)
    task.checksums()
    kept = task.dev_score(store)
    batches = BatchLoader(task.examples(), store, task.settings.batch_size, task.seed)
    for _ in islice(batches.epoch(0), NUM_BATCHES):
        pass
    del kept


def evaluate(num_captions: int) -> None:
    """The stage without its captioner: the captions are made up, each with attention over a grid of 49 cells."""
    from PIL import Image

    from wordgaze.stages import evaluate as stage

    prepared = Prepared.load(paths.PREPARED)
    params = load_params(CHECKOUT / "params.yaml")
    (paths.STAGE2).mkdir(parents=True, exist_ok=True)
    (paths.STAGE2 / WEIGHTS).write_bytes(b"")
    caption_features.generate = _made_up(prepared.vocabulary.words[len(SPECIAL) :])  # type: ignore[attr-defined]
    stage._load = lambda image: Image.new("RGB", (224, 224))  # type: ignore[assignment]
    spec = SimpleNamespace(grid=GRID)
    captioner: Any = SimpleNamespace(
        decoder=SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32, word_table=lambda: None),
        vocabulary=prepared.vocabulary, parts=NO_PARTS, encoder=SimpleNamespace(spec=spec),
    )  # fmt: skip
    stage.write_reports(stage.evaluate(captioner, prepared, FeatureStore(paths.FEATURES), params), params)


def _made_up(words: Sequence[str]) -> Callable[..., list[list[Caption]]]:
    def generate(*_: object, keys: Sequence[str], **__: object) -> list[list[Caption]]:
        chance = random.Random(keys[0])
        return [[_caption(chance.sample(words[:500], 10))] for _ in keys]

    def _caption(chosen: Sequence[str]) -> Caption:
        attention = np.full((len(chosen), *GRID), 1 / 49, np.float32)
        return Caption(tuple(chosen), -9.0, -0.9, tuple(-0.5 - i / 10 for i in range(len(chosen))), attention, "end")

    return generate


def run(part: str, count: int) -> None:
    """Prints the memory and the seconds of a part in the working directory, as JSON. What comes before a part, such as
    the features of a training, is made in processes before."""
    torch.set_num_threads(1)
    few, many = Path("few"), Path("many")
    os.chdir(few)
    globals()[part](FEW)
    before, started = peak(), time.perf_counter()
    os.chdir(Path("..") / many)
    globals()[part](count)
    print(json.dumps({"mb": peak() - before, "seconds": time.perf_counter() - started, "imports": before}))


def inputs(part: str, count: int, evaluated: int) -> None:
    """Writes what the part reads, unless it is there."""
    for folder, number in ((Path("few"), FEW), (Path("many"), count)):
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        if part != "features" and not (paths.RAW / "captions.jsonl").exists():
            write_captions(number, evaluated)
        if part in ("train", "evaluate") and not paths.PREPARED.exists():
            prepare(number)
        if part in ("train", "evaluate") and not paths.FEATURES.exists():
            features(number // PER_IMAGE)
        os.chdir("..")


def measure(part: str, count: int, work: Path, evaluated: int) -> dict[str, float]:
    """Runs a part in two processes: one makes its inputs, the other one is measured."""
    environment = {**os.environ, "DVC_ROOT": str(work)}
    for step in ("--inputs", "--run"):
        command = [sys.executable, str(Path(__file__).resolve()), step, part, "--samples", str(count)]
        command += ["--evaluated", str(evaluated)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=work, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    shown = f"{result['mb']:7.0f} MB above the {result['imports']:.0f} of the imports, {result['seconds']:6.1f} s"
    print(f"{part:9} {count:9,} samples: {shown}", flush=True)
    return result


def draw(sizes: Sequence[int], found: dict[str, list[float]], picture: Path) -> None:
    """Memory by samples, one line for each part, with the bytes that each further sample takes."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "wordgaze"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for part, values in found.items():
        axes.plot(sizes, values, "o-", label=f"{part}: {slope(sizes, values):,.0f} bytes a sample")
    axes.set(xscale="log", xlabel="samples", ylabel="MB above the imports", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Bytes that each sample adds between the last two sizes."""
    return (values[-1] - values[-2]) * 1e6 / (sizes[-1] - sizes[-2]) if len(sizes) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--evaluated", type=int, default=25, help="one of so many images is evaluated")
    parser.add_argument("--picture", type=Path, help="the picture to draw, .svg or .png")
    parser.add_argument("--work", type=Path, help="where everything is written, for a while")
    parser.add_argument("--inputs", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inputs or args.run:
        inputs(args.inputs, args.samples[0], args.evaluated) if args.inputs else run(args.run, args.samples[0])
        return
    found: dict[str, list[float]] = {part: [] for part in args.parts}
    for count in args.samples:
        with tempfile.TemporaryDirectory(dir=args.work) as work:
            for part in args.parts:
                found[part].append(measure(part, count, Path(work), args.evaluated)["mb"])
    for part, values in found.items():
        print(f"{part:9} {slope(args.samples, values):7,.0f} bytes a sample")
    if args.picture:
        draw(args.samples, found, args.picture)


if __name__ == "__main__":
    main()
