"""The speed of training: the project's step compared with a plain loop of the same mathematics in the same run.

    python benchmarks/training.py [--data data] [--steps 60] [--device cuda] [--threads 2] [--processes 2]

The plain loop is written as in tutorials: one caption is one example, whose features are read and projected for every
caption; shuffled captions, an LSTMCell per word, captions padded to the longest one of the batch, logits and loss over
all padded positions, fp32, AdamW, a DataLoader. Both start from the same weights and take turns, with 80 captions per
step, the same dropout rates and the same settings of the optimizer. Losses and gradients of one batch without dropout
are compared before anything is timed, and the training curves at the end.
"""

import argparse
import copy
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
from torch.nn.functional import cross_entropy, dropout, pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.config.params import TrainParams
from wordgaze.data.prepared import Prepared
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START
from wordgaze.training import parallel, train_step
from wordgaze.training.batches import Batch, BatchLoader, Example
from wordgaze.training.losses import captioning_loss
from wordgaze.training.parallel import DataParallel
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureSource, FeatureStore

IMAGES, CAPTIONS = 16, 5  # images per step, captions per image
MODELS: dict[str, dict[str, Any]] = {
    "soft attention": {},
    "top-down": {"attention_position": "between", "num_layers": 2, "gate": False},
}
WINDOWS = 6  # windows in which the training curves are compared
MAX_STANDARD_ERRORS = 4.0  # between the means of a window


class Synthetic:
    """Random features, and captions with the lengths of captions of photographs and words by Zipf's law."""

    num_cells, channels, vocabulary_size, max_words = 49, 1280, 2543, 20

    def __init__(self, num_images: int = 1000) -> None:
        rng = np.random.default_rng(1)
        frequency = 1 / np.arange(1, self.vocabulary_size - len(SPECIAL) + 1)
        self.features = torch.rand(
            num_images, self.num_cells, self.channels, generator=torch.Generator().manual_seed(1)
        ).bfloat16()
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


class PlainDecoder(nn.Module):
    """The same model, without packing or sharing between the captions of an image; starts from a decoder's weights."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        own = copy.deepcopy(decoder)
        self.config, self.top_down = own.config, own.attention_layer == 1
        self.feature_projection, self.embedding = own.feature_projection, own.embedding
        self.init_state_projection = own.init_state_projection
        score = own.attention.score
        self.key_projection, self.query_projection = score.key_projection, score.query_projection
        self.energy = score.energy
        self.hidden_to_output, self.context_to_output = own.hidden_to_output, own.context_to_output
        self.gate = own.context_gate if own.config.gate else None
        self.lm_head = nn.Linear(own.lm_head.weight.shape[1], own.vocabulary_size)
        self.lm_head.weight, self.lm_head.bias = own.lm_head.weight, own.lm_head.bias
        first, *upper_layers = own.layers
        if self.top_down:
            lower = (own.word_to_gates.weight, own.mean_to_gates.weight, own.top_to_gates.weight)
            cells = [_cell(lower, own.word_to_gates.bias, first.recurrent_projection.weight)]
            upper = (upper_layers[0].input_projection.weight, own.context_to_gates.weight)
            cells.append(
                _cell(upper, upper_layers[0].input_projection.bias, upper_layers[0].recurrent_projection.weight)
            )
        else:
            lower = (own.word_to_gates.weight, own.context_to_gates.weight)
            cells = [_cell(lower, own.word_to_gates.bias, first.recurrent_projection.weight)]
        self.cells = nn.ModuleList(cells)

    def forward(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, L, channels), captions (N, T) → logits (N, T, V), weights (N, T, L)."""
        config = self.config
        grid = dropout(torch.relu(self.feature_projection(features)), config.dropout_features, self.training)
        keys, mean = self.key_projection(grid), grid.mean(1)
        parts = torch.tanh(self.init_state_projection(mean)).chunk(2 * config.num_layers, 1)
        states = list(zip(parts[::2], parts[1::2], strict=True))
        inputs = pad(captions[:, :-1], (1, 0), value=START)
        words = dropout(self.embedding(inputs), config.dropout_embedding, self.training)
        logits, attention = [], []
        for t in range(captions.shape[1]):
            word = words[:, t]
            if self.top_down:
                states[0] = self.cells[0](torch.cat([word, mean, states[1][0]], 1), states[0])
            query = states[0][0]
            energy = self.energy(torch.tanh(keys + self.query_projection(query).unsqueeze(1))).squeeze(2)
            weights = torch.softmax(energy, 1)
            context = (weights.unsqueeze(2) * grid).sum(1)
            if self.gate is not None:
                context = torch.sigmoid(self.gate(query)) * context
            lower = states[0][0] if self.top_down else word
            states[-1] = self.cells[-1](torch.cat([lower, context], 1), states[-1])
            hidden = dropout(states[-1][0], config.dropout_output, self.training)
            output = torch.tanh(word + self.hidden_to_output(hidden) + self.context_to_output(context))
            logits.append(self.lm_head(dropout(output, config.dropout_output, self.training)))
            attention.append(weights)
        return torch.stack(logits, 1), torch.stack(attention, 1)


def _cell(inputs: Sequence[Tensor], bias: Tensor, recurrent: Tensor) -> nn.LSTMCell:
    """PyTorch's cell with the decoder's weights. Its gates are ordered input, forget, candidate, output."""

    def reordered(part: Tensor) -> Tensor:
        i, f, o, g = part.detach().chunk(4)
        return torch.cat([i, f, g, o])

    weights = torch.cat([part.detach() for part in inputs], 1)
    cell = nn.LSTMCell(weights.shape[1], recurrent.shape[1])
    cell.weight_ih, cell.weight_hh = nn.Parameter(reordered(weights)), nn.Parameter(reordered(recurrent))
    cell.bias_ih = nn.Parameter(reordered(bias))
    cell.bias_hh = nn.Parameter(torch.zeros_like(bias), requires_grad=False)
    return cell


def plain_loss(logits: Tensor, weights: Tensor, captions: Tensor, params: TrainParams) -> tuple[Tensor, Tensor]:
    """The loss to be minimised, and the cross entropy per word."""
    flat, targets = logits.flatten(0, 1), captions.flatten()
    loss = cross_entropy(flat, targets, ignore_index=PAD, label_smoothing=params.label_smoothing)
    attended = (weights * (captions != PAD).unsqueeze(2)).sum(1)
    loss = loss + params.doubly_stochastic * (1 - attended).square().mean()
    return loss, cross_entropy(flat.detach(), targets, ignore_index=PAD)


class CaptionDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of the features of an image, read for every caption, and the caption."""

    def __init__(self, examples: Sequence[Example], source: FeatureSource) -> None:
        self.pairs = [(example.image, torch.tensor(words)) for example in examples for words in example.captions]
        self.source = source

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, words = self.pairs[index]
        return self.source.read([image])[0].float(), words


def collate(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    features, captions = zip(*pairs, strict=True)
    return torch.stack(features), pad_sequence(captions, batch_first=True, padding_value=PAD)


class PlainTrainer:
    """The plain loop, with the learning rate schedule ``lr_lambda``."""

    def __init__(
        self, decoder: Decoder, params: TrainParams, lr_lambda: Callable[[int], float], device: torch.device
    ) -> None:
        self.model, self.params = PlainDecoder(decoder).to(device), params
        self.lr_lambda, self.device = lr_lambda, device
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, params.learning_rate, (0.9, 0.98), weight_decay=params.weight_decay)
        self.num_steps = 0

    def step(self, features: Tensor, captions: Tensor) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.learning_rate * self.lr_lambda(self.num_steps)
        captions = captions.to(self.device)
        loss, cross_entropy_per_word = plain_loss(
            *self.model(features.to(self.device), captions), captions, self.params
        )
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.params.max_grad_norm)
        self.optimizer.step()
        self.num_steps += 1
        return float(cross_entropy_per_word)


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


def measure(
    name: str, decoder: Decoder, examples: list[Example], source: FeatureSource, args: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Trains with the plain loop and the project in turn, prints their speeds, and returns their training curves."""
    device = torch.device(args.device)
    params = TrainParams(batch_size=IMAGES, device=args.device, precision=args.precision, warmup_steps=10)
    batches = BatchLoader(examples, source, IMAGES, seed=1)
    compare(decoder, next(batches.epoch(0)), params, device)
    trainer = Trainer(copy.deepcopy(decoder), batches, lambda _: 0.0, params, 1, Path("checkpoint"))
    plain = PlainTrainer(decoder, params, trainer.lr_lambda, device)
    loader = DataLoader(
        CaptionDataset(examples, source), IMAGES * CAPTIONS, shuffle=True, collate_fn=collate,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    batch_iterator, plain_iterator = batches_of_all_epochs(batches.epoch), batches_of_all_epochs(lambda _: iter(loader))
    speeds: dict[str, list[float]] = {"plain": [], "project": []}
    curves: dict[str, list[float]] = {"plain": [], "project": []}
    num_words = num_padded = 0
    with parallel.data_parallel(trainer.train_step, args.processes) as data_parallel:
        for _ in range(args.steps):
            torch.set_num_threads(args.threads)
            started = now(device)
            features, captions = next(plain_iterator)
            curves["plain"].append(plain.step(features, captions))
            speeds["plain"].append(len(captions) / (now(device) - started))
            num_words += int((captions != PAD).sum())
            num_padded += captions.numel()
            torch.set_num_threads(max(1, args.threads // args.processes))
            started = now(device)
            batch = next(batch_iterator)
            trainer.update(data_parallel, batch)
            curves["project"].append(trainer.state.metric_sums.pop("train_loss"))
            speeds["project"].append(int(batch.captions.ne(PAD).any(2).sum()) / (now(device) - started))
    slow, fast = (statistics.median(speeds[name][2:]) for name in ("plain", "project"))
    print(f"{name:15} plain loop {slow:7.1f} captions/s   project {fast:7.1f} captions/s   {fast / slow:.1f} times"
          f"   ({num_words / num_padded:.0%} of the plain loop's positions are words)")  # fmt: skip
    if args.processes > 1:
        return curves["plain"], curves["project"]
    parts = profile_step(
        trainer,
        DataParallel(trainer.train_step, [], torch.get_num_threads()),
        batch_iterator,
        min(10, args.steps),
        device,
    )
    total = sum(parts.values())
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
    parser.add_argument("--processes", type=int, default=1, help="number of processes of the project's step")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    args = parser.parse_args()
    if args.steps < 3 * WINDOWS:
        parser.error(f"--steps must be {3 * WINDOWS} or more")
    torch.set_num_threads(args.threads)
    source: FeatureSource
    if args.data:
        prepared, source = Prepared.load(args.data / "prepared"), FeatureStore(args.data / "features")
        channels, vocabulary_size = source.spec.channels, len(prepared.vocabulary)
        examples = [
            Example(image, tuple(tuple(prepared.vocabulary.encode(words, Synthetic.max_words)) for words in captions))
            for image, captions in sorted(prepared.captions["train"].items())
        ]
    else:
        source = synthetic = Synthetic()
        channels, vocabulary_size, examples = Synthetic.channels, Synthetic.vocabulary_size, synthetic.examples
    machine = f"{args.threads} threads, {args.processes} processes, {args.device}, torch {torch.__version__}"
    print(f"{len(examples)} images, {vocabulary_size} words, {machine}")
    different = []
    for name in args.only:
        torch.manual_seed(1)
        decoder = Decoder(DecoderConfig(**MODELS[name]), channels, vocabulary_size)
        if not curves_agree(*measure(name, decoder, examples, source, args)):
            different.append(name)
    if different:
        raise SystemExit(f"the curves of {', '.join(different)} differ by more than noise")


if __name__ == "__main__":
    main()
