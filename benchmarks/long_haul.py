"""The memory of a long training and of captioning many images: it must not grow.

    python benchmarks/long_haul.py [--steps 10000] [--captions 20000] [--picture docs/images/long-haul.png]

A tiny decoder is trained for so many steps on stored features, with checkpoints every second and a dev score after
each epoch; then a tiny captioner with random weights captions so many images by beam search. The resident memory of
the process is read five times a second. Printed are the memory at the beginning, at the end and at most, and the
slope of a straight line through the second half, in MB for each 1,000 steps or captions: more than --max-slope is an
error. One thread is enough, and the whole takes about ten minutes.
"""

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from feature_memory import keys_of

from wordgaze.config.params import TrainParams
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.metrics.cider import Cider
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.training.batches import BatchLoader, Example
from wordgaze.training.trainer import Trainer
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec, build_encoder
from wordgaze.vision.feature_shards import write_shards
from wordgaze.vision.feature_store import FeatureStore, write_manifest
from wordgaze.vision.picture_keys import PictureKeys

WORDS = Vocabulary((*SPECIAL, *(f"w{n}" for n in range(60))))
SIZES = DecoderConfig(embedding_size=24, hidden_size=32, attention_size=24, feature_size=32)
IMAGES, CHANNELS, BATCH = 400, 32, 8
_EVERY = 0.2  # seconds
_MOST = 100_000  # samples

Curve = np.ndarray[tuple[int, int], np.dtype[np.float32]]  # (steps or captions done, MB) in each row


@contextmanager
def sampled(done: Callable[[], int]) -> Iterator[list[Curve]]:
    """Reads the resident memory until the block ends; the curve is then in the list.

    The samples lie in one array, since a list of 20 tuples a second would be growth of its own.
    """
    samples, curve = np.zeros((_MOST, 2), np.float32), list[Curve]()
    process, ended = psutil.Process(), threading.Event()

    def sample() -> None:
        for number in range(_MOST):
            samples[number] = done(), process.memory_info().rss / 1e6
            if ended.wait(_EVERY):
                curve.append(samples[: number + 1])
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield curve
    finally:
        ended.set()
        thread.join()


def train(folder: Path, steps: int) -> Curve:
    """Trains a tiny decoder on stored features."""
    names = [f"{n}.jpg" for n in range(IMAGES)]
    generator = torch.Generator().manual_seed(0)

    def encode(images: Sequence[str], keys: Sequence[bytes]) -> torch.Tensor:
        return torch.randn(len(images), 9, CHANNELS, generator=generator).bfloat16()

    half = (0.5, 0.5, 0.5)
    network = NetworkSpec(name="timm/test_efficientnet", mean=half, std=half, layers=("",), channels=CHANNELS)
    spec = EncoderSpec(image_size=64, interpolation="bicubic", grid=(3, 3), networks=(network,))
    pictures = PictureKeys.of(names, keys_of(names), 64)
    write_shards(folder, pictures, "bf16", encode)
    write_manifest(folder, spec, "", pictures, "bf16", {})
    store, random = FeatureStore(folder), np.random.default_rng(0)

    def caption() -> list[str]:
        return [WORDS.words[i] for i in random.integers(len(SPECIAL), len(WORDS), random.integers(4, 12))]

    captions = {name: [caption() for _ in range(2)] for name in names}
    examples = [Example(n, tuple(tuple(WORDS.encode(words, 20)) for words in captions[n])) for n in names]
    dev = names[:40]
    cider = Cider([captions[name] for name in dev])
    greedy = GenerationConfig(strategy="greedy", max_new_tokens=12)

    def score(decoder: Decoder) -> float:
        return cider.score([best.words for best, *_ in caption_features(decoder, WORDS, store, dev, greedy, 40)])

    epochs = -(-steps // (IMAGES // BATCH))
    params = TrainParams(
        epochs=epochs, patience=epochs, batch_size=BATCH, checkpoint_seconds=1, device="cpu", precision="fp32"
    )
    torch.manual_seed(0)
    decoder = Decoder(SIZES, CHANNELS, len(WORDS))
    trainer = Trainer(decoder, BatchLoader(examples, store, BATCH, 0), score, params, 0, folder / "checkpoint")
    with sampled(lambda: trainer.num_steps) as curve:
        trainer.train(lambda _: None, lambda done, total: None)
    return curve[0]


def caption(count: int) -> Curve:
    """Captions images of changing sizes by beam search, in batches."""
    encoder = build_encoder("timm/test_efficientnet", "random", image_size=64)
    torch.manual_seed(0)
    captioner = Captioner(Decoder(SIZES, encoder.spec.channels, len(WORDS)).eval(), WORDS, encoder)
    beam, done = GenerationConfig(num_beams=3, max_new_tokens=12), 0
    random = np.random.default_rng(1)
    with sampled(lambda: done) as curve:
        while done < count:
            sizes = random.integers(40, 200, (32, 2))
            captioner.caption((Image.new("RGB", (int(w), int(h)), (int(w), int(h), 90)) for w, h in sizes), beam)
            done += len(sizes)
    return curve[0]


def slope(curve: Curve) -> float:
    """MB for each 1,000 steps or captions, of a straight line through the second half."""
    points = curve[curve[:, 0] >= curve[-1, 0] / 2]
    return float(np.polyfit(points[:, 0] / 1000, points[:, 1], 1)[0])


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draws the memory over the steps and over the captions."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(9, 3), layout="constrained")
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(curve[:, 0], curve[:, 1], linewidth=1.5)
        axis.set(xlabel=name, ylabel="resident memory, MB", ylim=(0, 1.3 * curve[:, 1].max()))
        axis.locator_params("x", nbins=5)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs both and prints what their memory did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--max-slope", type=float, default=0.3, help="MB for each 1,000 steps or captions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    curves: dict[str, Curve] = {}
    for name, run in (
        ("training steps", lambda folder: train(folder, args.steps)),
        ("captions", lambda _: caption(args.captions)),
    ):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            curve = curves[name] = run(Path(folder))
        memory = curve[:, 1]
        print(
            f"{curve[-1, 0]:,.0f} {name}: {memory[0]:.0f} MB at the beginning, {memory[-1]:.0f} at the end,"
            f" {max(memory):.0f} at most; {slope(curve):+.3f} MB per 1,000 in the second half;"
            f" {time.monotonic() - started:.0f} s",
            flush=True,
        )
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, {os.cpu_count()} cores")
    if args.picture:
        draw(curves, args.picture)
    if any(slope(curve) > args.max_slope for curve in curves.values()):
        sys.exit(f"the memory grows by more than {args.max_slope} MB for each 1,000")


if __name__ == "__main__":
    main()
