"""The speed of training: the project's step compared with a plain loop of the same mathematics in the same run.

    python benchmarks/training.py [--data data] [--steps 60] [--device cuda] [--threads 2] [--devices 2]
                                  [--only flickr8k_best] [--profile profile.json]

The plain loop is written as in tutorials: one caption is one example, whose features are read and projected for every
caption; shuffled captions, an LSTMCell per word, captions padded to the longest one of the batch, logits and loss over
all padded positions, fp32, AdamW, a DataLoader. Both start from the same weights and take turns, with 80 captions per
step, the same dropout rates and the same settings of the optimizer. Losses and gradients of one batch without dropout
are compared before anything is timed, and the training curves at the end. The model ``flickr8k_best`` is that of the
recipe, on features of its size. ``--profile`` writes the seconds per step of each part of the project's step, which
benchmarks/profile_picture.py draws.
"""

import argparse
import copy
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from plain_training import CaptionDataset, PlainDecoder, PlainTrainer, collate, plain_loss

from wordgaze.config.params import TrainParams
from wordgaze.config.recipes import load_recipe
from wordgaze.data.prepared import Prepared
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL
from wordgaze.training import train_step
from wordgaze.training.batches import Batch, BatchLoader, Example
from wordgaze.training.distributed import DataParallel
from wordgaze.training.losses import captioning_loss
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureSource, FeatureStore

IMAGES, CAPTIONS = 16, 5  # images per step, captions per image
MODELS: dict[str, dict[str, Any]] = {
    "soft attention": {},
    "top-down": {"attention_position": "between", "num_layers": 2, "gate": False},
    "flickr8k_best": {
        key.removeprefix("model."): value
        for key, value in load_recipe("flickr8k_best").settings.items()
        if key.startswith("model.")
    },
}
SIZES = {"flickr8k_best": (81, 3464)}  # cells and channels of random features, where they are not (49, 1280)
WINDOWS = 6  # windows in which the training curves are compared
MAX_STANDARD_ERRORS = 4.0  # between the means of a window


class Synthetic:
    """Random features, and captions with the lengths of captions of photographs and words by Zipf's law."""

    vocabulary_size, max_words = 2543, 20

    def __init__(self, num_cells: int, channels: int, num_images: int = 1000) -> None:
        self.channels = channels
        rng = np.random.default_rng(1)
        frequency = 1 / np.arange(1, self.vocabulary_size - len(SPECIAL) + 1)
        self.features = torch.rand(
            num_images, num_cells, channels, generator=torch.Generator().manual_seed(1), dtype=torch.bfloat16
        )
        lengths = np.clip(np.rint(rng.normal(10.8, 3.8, (num_images, CAPTIONS))), 3, self.max_words).astype(int)
        captions = [
            [rng.choice(len(frequency), n, p=frequency / frequency.sum()) for n in of_image] for of_image in lengths
        ]
        self.examples = [
            Example(str(i), tuple((*(words + len(SPECIAL)).tolist(), END) for words in of_image))
            for i, of_image in enumerate(captions)
        ]

    def read(self, images: Sequence[str]) -> Tensor:
        return self.features[[int(image) for image in images]]


def compare(decoder: Decoder, batch: Batch, params: TrainParams, device: torch.device) -> None:
    """Compares the losses of one batch without dropout, and the gradients of the weights that have the same layout.

    Raises SystemExit if they differ.
    """
    decoder, plain = copy.deepcopy(decoder).to(device).eval(), PlainDecoder(decoder).to(device).eval()
    features, captions = batch.features.to(device, torch.float32), batch.captions.to(device)
    output = captioning_loss(decoder(features, captions), params)
    real = captions.flatten(0, 1).ne(PAD).any(1)
    flat = captions.flatten(0, 1)[real]
    plain_output = plain_loss(*plain(features.repeat_interleave(captions.shape[1], 0)[real], flat), flat, params)
    output.loss.backward()
    plain_output[0].backward()
    pairs = {
        "loss": (output.loss, plain_output[0]),
        "cross entropy": (torch.tensor(output.metrics["train_loss"]), plain_output[1].cpu()),
    }  # fmt: skip
    for name in ("feature_projection", "key_projection", "query_projection", "energy", "hidden_to_output", "embedding"):
        inner = name if hasattr(decoder, name) else f"attention.score.{name}"
        pairs[name] = (decoder.get_parameter(f"{inner}.weight").grad, plain.get_parameter(f"{name}.weight").grad)
    differences = {name: float((a - b).detach().norm() / b.detach().norm()) for name, (a, b) in pairs.items()}
    if different := {name: value for name, value in differences.items() if not value < 1e-3}:
        raise SystemExit(f"the plain loop and the project differ: {different}")
    print(f"one batch without dropout: losses and gradients differ by {max(differences.values()):.0e} of their norm")


class Profiler:
    """Sums the seconds that the parts of a step take, without those of nested parts."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict[str, float]()
        self.nested: list[float] = []  # seconds in the nested parts of each running part

    def wrap(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = now(self.device)
            self.nested.append(0.0)
            try:
                return work(*args, **kwargs)
            finally:
                seconds = now(self.device) - started
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds - self.nested.pop()
                if self.nested:
                    self.nested[-1] += seconds

        return timed


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def profile_step(
    trainer: Trainer, data_parallel: DataParallel, batches: Iterator[Batch], steps: int, device: torch.device
) -> dict[str, float]:
    """The seconds per step of each part of the project's step."""
    profiler, decoder = Profiler(device), trainer.decoder
    originals = (train_step.captioning_loss, Tensor.backward, nn.utils.clip_grad_norm_)
    decoder.encode = profiler.wrap("encode", decoder.encode)  # type: ignore[method-assign]
    decoder.forward = profiler.wrap("recurrence", decoder.forward)  # type: ignore[method-assign]
    decoder.attention.forward = profiler.wrap("attention", decoder.attention.forward)  # type: ignore[method-assign]
    decoder._logits = profiler.wrap("output layer, loss", decoder._logits)  # type: ignore[method-assign]
    train_step.captioning_loss = profiler.wrap("output layer, loss", train_step.captioning_loss)
    Tensor.backward = profiler.wrap("backward", Tensor.backward)  # type: ignore[method-assign]
    nn.utils.clip_grad_norm_ = profiler.wrap("optimizer", nn.utils.clip_grad_norm_)
    trainer.optimizer.step = profiler.wrap("optimizer", trainer.optimizer.step)  # type: ignore[method-assign]
    read, step = (
        profiler.wrap("data loading", partial(next, batches)),
        profiler.wrap("other", partial(trainer.update, data_parallel)),
    )
    for _ in range(steps):
        step(read())
    train_step.captioning_loss, Tensor.backward, nn.utils.clip_grad_norm_ = originals  # type: ignore[method-assign]
    return {name: seconds / steps for name, seconds in profiler.seconds.items()}


def batches_of_all_epochs(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """The batches of epoch after epoch, without the last one of each, which may be smaller."""
    for number in range(sys.maxsize):
        previous = None
        for batch in epoch(number):
            if previous is not None:
                yield previous
            previous = batch


def params_of(args: argparse.Namespace) -> TrainParams:
    """The settings of the project's step."""
    return TrainParams(
        batch_size=IMAGES, device=args.device, devices=args.devices, precision=args.precision, warmup_steps=10
    )


def build_trainer(decoder: Decoder, examples: list[Example], source: FeatureSource, args: argparse.Namespace,
                  ranks: Ranks) -> tuple[Trainer, Iterator[Batch]]:  # fmt: skip
    """The project's trainer as one of the ranks, which have joined, and its batches."""
    params, batches = params_of(args), BatchLoader(examples, source, IMAGES, seed=1)
    ranks.join({}, torch.device(args.device))
    trainer = Trainer(copy.deepcopy(decoder), batches, lambda _: 0.0, params, 1, Path("checkpoint"), None, None, ranks)
    torch.set_num_threads(max(1, args.threads // ranks.world_size))
    return trainer, batches_of_all_epochs(batches.epoch)


def follow(ranks: Ranks, name: str, args: argparse.Namespace) -> None:
    """The steps of a rank other than the first."""
    decoder, examples, source = build_inputs(name, args)
    trainer, batches = build_trainer(decoder, examples, source, args, ranks)
    step = DataParallel(trainer.train_step, ranks)
    for _ in range(args.steps):
        trainer.update(step, next(batches))


def measure(
    name: str, decoder: Decoder, examples: list[Example], source: FeatureSource, args: argparse.Namespace, ranks: Ranks
) -> tuple[list[float], list[float]]:
    """Trains with the plain loop and the project in turn, prints their speeds, and returns their training curves."""
    device, params = torch.device(args.device), params_of(args)
    compare(decoder, next(BatchLoader(examples, source, IMAGES, seed=1).epoch(0)), params, device)
    trainer, batch_iterator = build_trainer(decoder, examples, source, args, ranks)
    data_parallel = DataParallel(trainer.train_step, ranks)
    plain = PlainTrainer(decoder, params, trainer.lr_lambda, device)
    loader = DataLoader(
        CaptionDataset(examples, source), IMAGES * CAPTIONS, shuffle=True, collate_fn=collate,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    plain_iterator = batches_of_all_epochs(lambda _: iter(loader))
    speeds: dict[str, list[float]] = {"plain": [], "project": []}
    curves: dict[str, list[float]] = {"plain": [], "project": []}
    num_words = num_padded = 0
    for _ in range(args.steps):
        torch.set_num_threads(args.threads)
        started = now(device)
        features, captions = next(plain_iterator)
        curves["plain"].append(plain.step(features, captions))
        speeds["plain"].append(len(captions) / (now(device) - started))
        num_words += int((captions != PAD).sum())
        num_padded += captions.numel()
        torch.set_num_threads(max(1, args.threads // ranks.world_size))
        started = now(device)
        batch = next(batch_iterator)
        trainer.update(data_parallel, batch)
        curves["project"].append(trainer.state.metric_sums.pop("train_loss"))
        num_captions = batch.whole_size().captions
        speeds["project"].append(num_captions / (now(device) - started))
    slow, fast = (statistics.median(speeds[name][2:]) for name in ("plain", "project"))
    print(f"{name:15} plain loop {slow:7.1f} captions/s   project {fast:7.1f} captions/s   {fast / slow:.1f} times"
          f"   ({num_words / num_padded:.0%} of the plain loop's positions are words)")  # fmt: skip
    if ranks.world_size > 1:
        return curves["plain"], curves["project"]
    parts = profile_step(trainer, data_parallel, batch_iterator, min(10, args.steps), device)
    total = sum(parts.values())
    if args.profile:
        args.profile.write_text(json.dumps({"model": name, "precision": args.precision, "seconds": parts}))
    print(
        f"  {1e3 * total:.0f} ms per step: "
        + ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in parts.items())
    )
    return curves["plain"], curves["project"]


def curves_agree(plain: Sequence[float], project: Sequence[float]) -> bool:
    """Prints the mean cross entropy per word in each window of the curves, and the difference in standard errors.

    Returns whether all differences are below MAX_STANDARD_ERRORS.
    """
    size, differences = len(plain) // WINDOWS, []
    print("  steps     plain loop      project   (cross entropy per word; difference in standard errors)")
    for start in range(0, size * WINDOWS, size):
        a, b = plain[start : start + size], project[start : start + size]
        error = math.sqrt((statistics.variance(a) + statistics.variance(b)) / size)
        differences.append(abs(statistics.mean(a) - statistics.mean(b)) / error)
        print(f"  {start + 1:3}–{start + size:3} {statistics.mean(a):13.3f} {statistics.mean(b):12.3f}"
              f" {differences[-1]:8.1f}")  # fmt: skip
    return max(differences) < MAX_STANDARD_ERRORS


def training_data(name: str, folder: Path | None) -> tuple[list[Example], FeatureSource, int, int]:
    """Examples, features, the number of channels and that of words: those of a project, or random ones."""
    if not folder:
        synthetic = Synthetic(*SIZES.get(name, (49, 1280)))
        return synthetic.examples, synthetic, synthetic.channels, Synthetic.vocabulary_size
    prepared, store = Prepared.load(folder / "prepared"), FeatureStore(folder / "features")
    examples = [
        Example(image, tuple(tuple(prepared.vocabulary.encode(words, Synthetic.max_words)) for words in captions))
        for image, captions in sorted(prepared.captions["train"].items())
    ]
    return examples, store, store.spec.channels, len(prepared.vocabulary)


def build_inputs(name: str, args: argparse.Namespace) -> tuple[Decoder, list[Example], FeatureSource]:
    """The decoder that all loops start from, the same in each process, and what it is trained on."""
    examples, source, channels, vocabulary_size = training_data(name, args.data)
    torch.manual_seed(1)
    decoder = Decoder(DecoderConfig(**MODELS[name]), channels, vocabulary_size)
    if decoder.config.standardise:
        decoder.standardise(source.read([example.image for example in examples[:256]]))
    return decoder, examples, source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="a project's data folder with features and prepared captions; random data by default"
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--precision", default="fp32", choices=["auto", "fp32", "bf16"], help="number format of the project's step"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--devices", type=int, default=1, help="number of ranks of the project's step")
    parser.add_argument("--profile", type=Path, help="write the seconds of each part of a step; needs --devices 1")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    args = parser.parse_args()
    if args.steps < 3 * WINDOWS:
        parser.error(f"--steps must be {3 * WINDOWS} or more")
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, {args.devices} ranks, {args.device}, torch {torch.__version__}")
    different = []
    for name in args.only:
        decoder, examples, source = build_inputs(name, args)
        print(f"{len(examples)} images, {decoder.channels} channels, {decoder.vocabulary_size} words")
        with started_ranks(params_of(args), partial(follow, name=name, args=args)) as ranks:
            curves = measure(name, decoder, examples, source, args, ranks)
        if not curves_agree(*curves):
            different.append(name)
    if different:
        raise SystemExit(f"the curves of {', '.join(different)} differ by more than noise")


if __name__ == "__main__":
    main()
