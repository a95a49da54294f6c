"""The speed of training on features in each format, and the share of the time for which the steps wait for them.

    python benchmarks/feature_training.py [--images 1000] [--steps 60] [--threads 2] [--work FOLDER]

The model is that of the recipe flickr8k_best, in stage 1, on random features of its size (81 cells, 3,464 channels) and
random captions as long as those of photographs. The features are stored in each format, and trainers that start from
the same weights take a step each in turn, on the same images. A step waits while its batch is read from the shards,
which are in the cache of the disk after the first steps; these are not counted.
"""

import argparse
import copy
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from feature_formats import FORMATS, stored_as
from feature_memory import NETWORK, SPEC
from training import IMAGES, MODELS, SIZES, Synthetic, batches_of_all_epochs

from wordgaze.config.params import TrainParams
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import BatchLoader
from wordgaze.training.distributed import DataParallel
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureStore

NAME = "flickr8k_best"
CELLS, CHANNELS = SIZES[NAME]
GRID = (math.isqrt(CELLS), math.isqrt(CELLS))
RECIPE_SPEC = SPEC.model_copy(update={"grid": GRID, "networks": (NETWORK.model_copy(update={"channels": CHANNELS}),)})


class Measured:
    """A trainer of its own features, and the seconds of its steps: in all, and for which they waited."""

    def __init__(self, decoder: Decoder, data: Synthetic, store: FeatureStore, precision: str) -> None:
        params = TrainParams.model_validate({"batch_size": IMAGES, "device": "cpu", "precision": precision})
        loader = BatchLoader(data.examples, store, IMAGES, seed=1)
        self.trainer = Trainer(copy.deepcopy(decoder), loader, lambda _: 0.0, params, 1, Path("checkpoint"))
        self.step, self.batches = DataParallel(self.trainer.train_step, Ranks()), batches_of_all_epochs(loader.epoch)
        self.seconds, self.waited = list[float](), list[float]()

    def take_step(self) -> None:
        torch.manual_seed(len(self.seconds))  # of the dropout: that of the other trainers
        started = time.perf_counter()
        batch = next(self.batches)
        self.waited.append(time.perf_counter() - started)
        self.trainer.update(self.step, batch)
        self.seconds.append(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=10, help="steps that are not counted")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, help="where the features are written, for a while")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    data = Synthetic(CELLS, CHANNELS, args.images)
    decoder = Decoder(DecoderConfig(**MODELS[NAME]), data.channels, data.vocabulary_size)
    images = [example.image for example in data.examples]
    decoder.standardise(data.read(images[:256]))
    print(f"{args.images} images, {args.threads} threads, {args.precision}, {torch.backends.cpu.get_cpu_capability()}")
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        measured, sizes = {}, {}
        for dtype in FORMATS:
            folder = Path(work) / dtype
            store = stored_as(dtype, data, RECIPE_SPEC, images, folder)
            sizes[dtype] = sum(path.stat().st_size for path in folder.glob("shard-*")) / len(images)
            measured[dtype] = Measured(decoder, data, store, args.precision)
        for _ in range(args.warmup + args.steps):
            for each in measured.values():
                each.take_step()
        for dtype, each in measured.items():
            seconds, waited = each.seconds[args.warmup :], each.waited[args.warmup :]
            of_bf16 = measured["bf16"].seconds[args.warmup :]
            relative = [own / other for own, other in zip(seconds, of_bf16, strict=True)]
            print(f"{dtype:5} {sizes[dtype] / 1e3:6.0f} kB per image   {1 / statistics.median(seconds):6.2f} steps/s"
                  f"   {1 / statistics.median(relative):5.3f} of bf16   waits {sum(waited) / sum(seconds):6.1%}"
                  f"   loss {each.trainer.state.metric_sums['train_loss'] / len(each.seconds):.4f}")  # fmt: skip


if __name__ == "__main__":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    main()
