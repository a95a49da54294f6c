"""How fast a decoder trains: the project's step against a plain loop of the same mathematics, in the same run.

The plain loop is written as tutorials write it: one caption is one example with its own copy of the feature grid, read,
projected and keyed for every caption; shuffled captions, an LSTMCell per word, everything padded to the batch's longest
caption, logits and loss over all padded positions, fp32, AdamW, a DataLoader. Both begin with the same weights and
take 80 captions a step, with the same dropout rates and the same settings of the optimiser, in turn. Before anything is
timed, losses and gradients of both on one batch without dropout are compared; in the end, the curves of both.

    python benchmarks/training.py [--data data] [--steps 60] [--device cuda] [--threads 2] [--processes 2]
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

PICTURES, CAPTIONS = 16, 5  # a step
MODELS: dict[str, dict[str, Any]] = {
    "soft attention": {},
    "top-down": {"attention_position": "between", "num_layers": 2, "gate": False},
}
WINDOWS = 6  # of the curves
APART = 4.0  # standard errors of a window's mean: more is no noise


class Synthetic:
    """Random features, and captions as long as those of photographs, of words by Zipf's law."""

    cells, channels, vocabulary, words = 49, 1280, 2543, 20

    def __init__(self, pictures: int = 1000) -> None:
        random = np.random.default_rng(1)
        share = 1 / np.arange(1, self.vocabulary - len(SPECIAL) + 1)
        self.rows = torch.rand(
            pictures, self.cells, self.channels, generator=torch.Generator().manual_seed(1)
        ).bfloat16()
        lengths = np.clip(np.rint(random.normal(10.8, 3.8, (pictures, CAPTIONS))), 3, self.words).astype(int)
        said = [[random.choice(len(share), n, p=share / share.sum()) for n in of_one] for of_one in lengths]
        self.examples = [
            Example(str(i), tuple((*(words + len(SPECIAL)).tolist(), END) for words in of_one))
            for i, of_one in enumerate(said)
        ]

    def read(self, images: Sequence[str]) -> Tensor:
        return self.rows[[int(image) for image in images]]


class PlainDecoder(nn.Module):
    """The same model, a caption at a time; it begins with the weights of a decoder."""

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
        self.classify = nn.Linear(own.lm_head.weight.shape[1], own.vocabulary_size)
        self.classify.weight, self.classify.bias = own.lm_head.weight, own.lm_head.bias
        first, *upper = own.layers
        if self.top_down:
            under = (own.word_to_gates.weight, own.mean_to_gates.weight, own.top_to_gates.weight)
            cells = [_cell(under, own.word_to_gates.bias, first.recurrent_projection.weight)]
            above = (upper[0].input_projection.weight, own.context_to_gates.weight)
            cells.append(_cell(above, upper[0].input_projection.bias, upper[0].recurrent_projection.weight))
        else:
            under = (own.word_to_gates.weight, own.context_to_gates.weight)
            cells = [_cell(under, own.word_to_gates.bias, first.recurrent_projection.weight)]
        self.cells = nn.ModuleList(cells)

    def forward(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, L, channels), captions (N, T) → logits (N, T, V), weights (N, T, L)."""
        config = self.config
        grid = dropout(torch.relu(self.feature_projection(features)), config.dropout_features, self.training)
        keys, mean = self.key_projection(grid), grid.mean(1)
        parts = torch.tanh(self.init_state_projection(mean)).chunk(2 * config.num_layers, 1)
        states = list(zip(parts[::2], parts[1::2], strict=True))
        said = pad(captions[:, :-1], (1, 0), value=START)
        words = dropout(self.embedding(said), config.dropout_embedding, self.training)
        logits, shown = [], []
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
            below = states[0][0] if self.top_down else word
            states[-1] = self.cells[-1](torch.cat([below, context], 1), states[-1])
            hidden = dropout(states[-1][0], config.dropout_output, self.training)
            mixed = torch.tanh(word + self.hidden_to_output(hidden) + self.context_to_output(context))
            logits.append(self.classify(dropout(mixed, config.dropout_output, self.training)))
            shown.append(weights)
        return torch.stack(logits, 1), torch.stack(shown, 1)


def _cell(inputs: Sequence[Tensor], bias: Tensor, recurrent: Tensor) -> nn.LSTMCell:
    """The library's cell; its gates come in the order into, forget, new, out, and its second bias stays zero."""

    def ordered(part: Tensor) -> Tensor:
        into, forget, out, new = part.detach().chunk(4)
        return torch.cat([into, forget, new, out])

    weights = torch.cat([part.detach() for part in inputs], 1)
    cell = nn.LSTMCell(weights.shape[1], recurrent.shape[1])
    cell.weight_ih, cell.weight_hh = nn.Parameter(ordered(weights)), nn.Parameter(ordered(recurrent))
    cell.bias_ih = nn.Parameter(ordered(bias))
    cell.bias_hh = nn.Parameter(torch.zeros_like(bias), requires_grad=False)
    return cell


def plain_loss(logits: Tensor, weights: Tensor, captions: Tensor, params: TrainParams) -> tuple[Tensor, Tensor]:
    """What is minimised, and the cross entropy per word."""
    flat, targets = logits.flatten(0, 1), captions.flatten()
    total = cross_entropy(flat, targets, ignore_index=PAD, label_smoothing=params.label_smoothing)
    looked = (weights * (captions != PAD).unsqueeze(2)).sum(1)
    total = total + params.doubly_stochastic * (1 - looked).square().mean()
    return total, cross_entropy(flat.detach(), targets, ignore_index=PAD)


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """A caption with its picture's features, read again each time."""

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
    """The plain loop, with the learning rates of ``lr_lambda``."""

    def __init__(
        self, decoder: Decoder, params: TrainParams, lr_lambda: Callable[[int], float], device: torch.device
    ) -> None:
        self.model, self.params = PlainDecoder(decoder).to(device), params
        self.lr_lambda, self.device = lr_lambda, device
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            learning, params.learning_rate, (0.9, 0.98), weight_decay=params.weight_decay
        )
        self.steps = 0

    def step(self, features: Tensor, captions: Tensor) -> float:
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.learning_rate * self.lr_lambda(self.steps)
        captions = captions.to(self.device)
        total, plain = plain_loss(*self.model(features.to(self.device), captions), captions, self.params)
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.params.max_grad_norm)
        self.optimizer.step()
        self.steps += 1
        return float(plain)


def compare(decoder: Decoder, batch: Batch, params: TrainParams, device: torch.device) -> None:
    """Losses, and gradients of the weights that are laid out alike, of one batch without dropout."""
    decoder, plain = copy.deepcopy(decoder).to(device).eval(), PlainDecoder(decoder).to(device).eval()
    features, captions = batch.features.to(device, torch.float32), batch.captions.to(device)
    mine = captioning_loss(decoder(features, captions), params)
    real = captions.flatten(0, 1).ne(PAD).any(1)
    flat = captions.flatten(0, 1)[real]
    theirs = plain_loss(*plain(features.repeat_interleave(captions.shape[1], 0)[real], flat), flat, params)
    mine.loss.backward()
    theirs[0].backward()
    pairs = {
        "loss": (mine.loss, theirs[0]), "cross entropy": (torch.tensor(mine.metrics["train_loss"]), theirs[1].cpu())
    }  # fmt: skip
    for name in ("feature_projection", "key_projection", "query_projection", "energy", "hidden_to_output", "embedding"):
        inner = name if hasattr(decoder, name) else f"attention.score.{name}"
        pairs[name] = (decoder.get_parameter(f"{inner}.weight").grad, plain.get_parameter(f"{name}.weight").grad)
    apart = {name: float((a - b).detach().norm() / b.detach().norm()) for name, (a, b) in pairs.items()}
    if wrong := {name: value for name, value in apart.items() if not value < 1e-3}:
        raise SystemExit(f"the plain loop and the project differ: {wrong}")
    print(f"one batch without dropout: losses and gradients are apart by {max(apart.values()):.0e} of their size")


class Clock:
    """Seconds a part of a step takes, the parts nested in it left out."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict[str, float]()
        self.open: list[float] = []  # seconds spent in inner parts

    def time(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            started = now(self.device)
            self.open.append(0.0)
            try:
                return work(*given, **named)
            finally:
                whole = now(self.device) - started
                self.seconds[name] = self.seconds.get(name, 0.0) + whole - self.open.pop()
                if self.open:
                    self.open[-1] += whole

        return timed


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def parts_of_a_step(
    trainer: Trainer, data_parallel: DataParallel, batches: Iterator[Batch], steps: int, device: torch.device
) -> dict[str, float]:
    """Where the time of the project's step goes: seconds a step."""
    clock, decoder = Clock(device), trainer.decoder
    kept = (train_step.captioning_loss, Tensor.backward, nn.utils.clip_grad_norm_)
    decoder.encode = clock.time("features, keys", decoder.encode)  # type: ignore[method-assign]
    decoder.forward = clock.time("recurrence", decoder.forward)  # type: ignore[method-assign]
    decoder.attention.forward = clock.time("attention", decoder.attention.forward)  # type: ignore[method-assign]
    decoder._logits = clock.time("classifier, loss", decoder._logits)  # type: ignore[method-assign]
    train_step.captioning_loss = clock.time("classifier, loss", train_step.captioning_loss)
    Tensor.backward = clock.time("backward", Tensor.backward)  # type: ignore[method-assign]
    nn.utils.clip_grad_norm_ = clock.time("optimiser", nn.utils.clip_grad_norm_)
    trainer.optimizer.step = clock.time("optimiser", trainer.optimizer.step)  # type: ignore[method-assign]
    read, step = (
        clock.time("loader", partial(next, batches)),
        clock.time("the rest", partial(trainer.update, data_parallel)),
    )
    for _ in range(steps):
        step(read())
    train_step.captioning_loss, Tensor.backward, nn.utils.clip_grad_norm_ = kept  # type: ignore[method-assign]
    return {name: seconds / steps for name, seconds in clock.seconds.items()}


def endless(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    """The batches of one epoch after the other; the last one of each, which may be smaller, is left out."""
    for number in range(sys.maxsize):
        ahead = None
        for batch in epoch(number):
            if ahead is not None:
                yield ahead
            ahead = batch


def race(
    name: str, decoder: Decoder, examples: list[Example], source: FeatureSource, given: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Trains both ways, a step of each in turn, and prints what it took; returns both curves."""
    device = torch.device(given.device)
    params = TrainParams(batch_size=PICTURES, device=given.device, precision=given.precision, warmup_steps=10)
    batches = BatchLoader(examples, source, PICTURES, seed=1)
    compare(decoder, next(batches.epoch(0)), params, device)
    mine = Trainer(copy.deepcopy(decoder), batches, lambda _: 0.0, params, 1, Path("never written"))
    plain = PlainTrainer(decoder, params, mine.lr_lambda, device)
    loader = DataLoader(
        Pairs(examples, source), PICTURES * CAPTIONS, shuffle=True, collate_fn=collate,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    of_mine, of_plain = endless(batches.epoch), endless(lambda _: iter(loader))
    speeds: dict[str, list[float]] = {"plain": [], "mine": []}
    curves: dict[str, list[float]] = {"plain": [], "mine": []}
    words = padded = 0
    with parallel.data_parallel(mine.train_step, given.processes) as data_parallel:
        for _ in range(given.steps):
            torch.set_num_threads(given.threads)
            started = now(device)
            features, captions = next(of_plain)
            curves["plain"].append(plain.step(features, captions))
            speeds["plain"].append(len(captions) / (now(device) - started))
            words, padded = words + int((captions != PAD).sum()), padded + captions.numel()
            torch.set_num_threads(max(1, given.threads // given.processes))
            started = now(device)
            batch = next(of_mine)
            mine.update(data_parallel, batch)
            curves["mine"].append(mine.state.metric_sums.pop("train_loss"))
            speeds["mine"].append(int(batch.captions.ne(PAD).any(2).sum()) / (now(device) - started))
    slow, fast = (statistics.median(speeds[way][2:]) for way in ("plain", "mine"))
    print(f"{name:15} plain loop {slow:7.1f} captions/s   project {fast:7.1f} captions/s   {fast / slow:.1f} times"
          f"   ({words / padded:.0%} of the plain loop's words are real)")  # fmt: skip
    if given.processes > 1:
        return curves["plain"], curves["mine"]
    parts = parts_of_a_step(
        mine, DataParallel(mine.train_step, [], torch.get_num_threads()), of_mine, min(10, given.steps), device
    )
    whole = sum(parts.values())
    print(f"  {1e3 * whole:.0f} ms a step: " + ", ".join(f"{k} {v / whole:.0%}" for k, v in parts.items()))
    return curves["plain"], curves["mine"]


def agree(plain: Sequence[float], mine: Sequence[float]) -> bool:
    """Prints both curves by windows: means of the cross entropy per word, and how many standard errors lie between."""
    size, apart = len(plain) // WINDOWS, []
    print("  steps     plain loop      project   (cross entropy per word; standard errors apart)")
    for start in range(0, size * WINDOWS, size):
        a, b = plain[start : start + size], mine[start : start + size]
        error = math.sqrt((statistics.variance(a) + statistics.variance(b)) / size)
        apart.append(abs(statistics.mean(a) - statistics.mean(b)) / error)
        print(
            f"  {start + 1:3}–{start + size:3} {statistics.mean(a):13.3f} {statistics.mean(b):12.3f} {apart[-1]:8.1f}"
        )
    return max(apart) < APART


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a project's data folder, with features and prepared captions")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["auto", "fp32", "bf16"], help="of the project's step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processes", type=int, default=1, help="that divide the project's batches")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    given = parser.parse_args()
    if given.steps < 3 * WINDOWS:
        parser.error(f"--steps must be {3 * WINDOWS} or more")
    torch.set_num_threads(given.threads)
    source: FeatureSource
    if given.data:
        prepared, source = Prepared.load(given.data / "prepared"), FeatureStore(given.data / "features")
        channels, vocabulary = source.spec.channels, len(prepared.vocabulary)
        examples = [
            Example(image, tuple(tuple(prepared.vocabulary.encode(words, Synthetic.words)) for words in captions))
            for image, captions in sorted(prepared.captions["train"].items())
        ]
    else:
        source = synthetic = Synthetic()
        channels, vocabulary, examples = Synthetic.channels, Synthetic.vocabulary, synthetic.examples
    machine = f"{given.threads} threads, {given.processes} processes, {given.device}, torch {torch.__version__}"
    print(f"{len(examples)} pictures, {vocabulary} words, {machine}")
    wrong = []
    for name in given.only:
        torch.manual_seed(1)
        decoder = Decoder(DecoderConfig(**MODELS[name]), channels, vocabulary)
        if not agree(*race(name, decoder, examples, source, given)):
            wrong.append(name)
    if wrong:
        raise SystemExit(f"the curves of {', '.join(wrong)} are further apart than noise")


if __name__ == "__main__":
    main()
