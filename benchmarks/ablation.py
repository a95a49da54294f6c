"""What each method of a recipe gives: one left out or changed at a time, over several seeds, judged on dev.

    python benchmarks/ablation.py [--root .] [--pictures 1500] [--epochs 4] [--seeds 1 2]

Needs a project whose ``features`` stage has run; its ``params.yaml`` has everything that does not vary. By cross
entropy alone and from scratch, in as many processes of one thread as there are jobs. Every setting is trained with the
first seed before any is with the second; with --minutes what has not begun by then is left out. Intervals (95 %) are of
the mean over seeds: their deviation is pooled over all settings, since each has few seeds.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from challengers import ScheduledSampling, Transformer, in_pieces, whole
from probe import parts_of
from scipy import stats
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.config.params import Params, load_params
from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_features import caption_features
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import Cider
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.training.batches import BatchLoader
from wordgaze.training.fit import TrainingTask
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureStore

BATCH = 128  # pictures captioned at once
GREEDY, BEAM = GenerationConfig(strategy="greedy"), GenerationConfig()


@dataclass(frozen=True)
class Change:
    """Parameters that differ, another decoder, fewer networks or depths of the stored features, words in pieces."""

    params: dict[str, object] = field(default_factory=dict)
    decoder: type[Decoder] | type[Transformer] = Decoder
    networks: int | None = None
    depths: int | None = None
    pieces: bool = False


DROPOUTS = ("channels", "embedding", "features", "output")
CHANGES: dict[str, Change] = {
    "as it is": Change(),
    "no label smoothing": Change({"train_stage1.label_smoothing": 0.0}),
    "no dropout": Change({f"model.dropout_{part}": 0.0 for part in DROPOUTS}),
    "the last map of each network alone": Change(depths=1),
    "the first network alone": Change(networks=1),
    "channels as they come": Change({"model.standardise": False}),
    "need not look everywhere": Change({"train_stage1.doubly_stochastic": 0.0}),
    "top-down": Change({"model.attention_position": "between", "model.num_layers": 2, "model.sentinel": False}),
    "scheduled sampling": Change(decoder=ScheduledSampling),
    "a transformer of two layers": Change({"train_stage1.doubly_stochastic": 0.0}, decoder=Transformer),
    "weights averaged": Change({"train_stage1.ema_decay": 0.998}),
    "words that occur three times": Change({"prepare.min_count": 3}),
    "rare words in two pieces": Change(pieces=True),
    "whole channels are never left out": Change({"model.dropout_channels": 0.0}),
    "words tied": Change({"model.tie_embeddings": True}),
}
Scores = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=256, help="of all layers; 0: as it is")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=600.0)
    given = parser.parse_args()
    waiting = [(name, seed) for seed in given.seeds for name in given.only]
    until = time.monotonic() + 60 * given.minutes
    running: dict[Future[Scores], tuple[str, int]] = {}
    found: dict[str, list[Scores]] = {name: [] for name in given.only}  # the first is what the others are changes of
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < given.jobs and time.monotonic() < until:
                name, seed = waiting.pop(0)
                params = changed(given.root, given.pictures, given.epochs, given.width, CHANGES[name].params)
                running[pool.submit(train, given.root, params, CHANGES[name], seed)] = name, seed
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                name, seed = running.pop(done)
                found[name].append(done.result())
                print(f"{name}, seed {seed}: {done.result()}", file=sys.stderr, flush=True)
    print(table(found))


def changed(root: Path, pictures: int, epochs: int, width: int, change: dict[str, object]) -> Params:
    """The project's parameters, smaller, and changed."""
    values = load_params(root / "params.yaml").model_dump()
    sizes = {f"model.{part}_size": width for part in ("embedding", "hidden", "attention", "feature") if width}
    small = {"train_stage1.max_train_images": pictures, "train_stage1.epochs": epochs, "train_stage1.num_processes": 1}
    for key, value in {**sizes, **small, "train_stage2.max_train_images": 0, **change}.items():
        section, name = key.split(".")
        values[section][name] = value
    return Params.model_validate(values)


def train(root: Path, params: Params, change: Change, seed: int) -> Scores:
    """The scores on dev of what a training makes, and its minutes."""
    torch.set_num_threads(1)
    started = time.monotonic()
    source = Columns(FeatureStore(root / "data/features"), change.networks, change.depths)
    prepared = worded(Prepared.load(root / "data/prepared"), params.prepare.min_count, change.pieces)
    settings, words = params.train_stage1, prepared.vocabulary
    task = TrainingTask(prepared, source.store, params.model, settings, params.prepare.max_words, seed)
    examples = task.examples()
    torch.manual_seed(seed)
    decoder = change.decoder(params.model, len(source.columns), len(words))
    if params.model.standardise:
        decoder.standardise(source.read([example.image for example in examples[:: max(1, len(examples) // 256)]]))
    images, references = prepared.references("dev")
    cider = Cider(references)

    def said(model: Any, decode: GenerationConfig) -> list[tuple[str, ...]]:
        return [whole(of_one[0].words) for of_one in caption_features(model, words, source, images, decode, BATCH)]

    def dev_score(model: Any) -> float:
        return cider.score(said(model, GREEDY))

    with tempfile.TemporaryDirectory() as folder:
        batches = BatchLoader(examples, source, settings.batch_size, seed)
        trainer = Trainer(decoder, batches, dev_score, settings, seed, Path(folder) / "checkpoint.safetensors")
        history = trainer.train(lambda _: None, lambda *_: None)
    minutes = (time.monotonic() - started) / 60
    scores = score_captions(said(decoder.eval(), BEAM), references)
    greedy = max(row["dev_cider"] for row in history)
    return {"greedy": greedy, "bleu_4": scores["bleu_4"], "cider": scores["cider"], "minutes": minutes}


class Columns:
    """The stored features of the first ``networks``, of each the first ``depths``; None: all."""

    def __init__(self, store: FeatureStore, networks: int | None, depths: int | None) -> None:
        self.store = store
        kept = [list(layers.values())[:depths] for layers in list(parts_of(store).values())[:networks]]
        self.columns = torch.cat([torch.arange(s.start, s.stop) for layers in kept for s in layers])

    def read(self, images: Sequence[str]) -> Tensor:
        found = self.store.read(images)
        return found if len(self.columns) == found.shape[2] else found[:, :, self.columns]


def worded(prepared: Prepared, min_count: int, pieces: bool) -> Prepared:
    """With the vocabulary that the training captions give, and these in pieces."""
    train = prepared.captions["train"]
    known = Vocabulary.count((words for of_one in train.values() for words in of_one), min_count)
    if not pieces:
        return replace(prepared, vocabulary=known)
    train, vocabulary = in_pieces(train, known, min_count)
    return replace(prepared, captions={**prepared.captions, "train": train}, vocabulary=vocabulary)


def table(found: dict[str, list[Scores]]) -> str:
    """Markdown, a row a setting."""
    kinds = {"greedy": "greedy CIDEr", "bleu_4": "beam 5: BLEU-4", "cider": "beam 5: CIDEr"}
    half = {kind: half_width([[s[kind] for s in scores] for scores in found.values()]) for kind in kinds}
    lines = [["", *kinds.values(), "CIDEr gained", "seeds", "minutes"], ["---"] * (len(kinds) + 4)]
    base = next(iter(found.values()))
    for name, scores in found.items():
        if not scores:
            continue
        apart = np.mean([s["cider"] for s in scores]) - np.mean([s["cider"] for s in base])
        width = half["cider"] * (1 / len(scores) + 1 / len(base)) ** 0.5
        cells = [f"{np.mean([s[kind] for s in scores]):.3f} ± {half[kind] / len(scores) ** 0.5:.3f}" for kind in kinds]
        cells.append("" if scores is base else f"{apart:+.3f} ± {width:.3f}")
        lines.append([name, *cells, str(len(scores)), f"{np.mean([s['minutes'] for s in scores]):.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def half_width(groups: Iterable[list[float]]) -> float:
    """Of the 95 % interval of one training, by the deviation pooled over groups (Student 1908); NaN for one seed."""
    several = [np.array(group) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    if not freedom:
        return float("nan")
    variance = sum(float(((group - group.mean()) ** 2).sum()) for group in several) / freedom
    return float(stats.t.ppf(0.975, freedom) * variance**0.5)


if __name__ == "__main__":
    main()
