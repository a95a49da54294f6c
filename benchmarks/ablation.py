"""The contribution of each method of a recipe: one is removed or changed at a time, over several seeds.

    python benchmarks/ablation.py [--root .] [--images 1500] [--epochs 4] [--seeds 1 2]

Needs a project in which stage ``features`` has run; its ``params.yaml`` sets everything that does not vary. Decoders
are trained from scratch with cross entropy, each in a process with one thread, and evaluated on dev. Every variant is
trained with the first seed before any is trained with the second; after --minutes no training is started. Intervals
(95 %) are those of the mean over seeds; the deviation is pooled over all variants, because each has few seeds.
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
from challengers import ScheduledSampling, Transformer, join_subwords, split_rare_words
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

BATCH_SIZE = 128  # images captioned at once
GREEDY, BEAM = GenerationConfig(strategy="greedy"), GenerationConfig()


@dataclass(frozen=True)
class Change:
    """What a variant changes: parameters, the decoder, the networks or depths of the stored features that are used, or
    the tokenizer."""

    params: dict[str, object] = field(default_factory=dict)
    decoder: type[Decoder] | type[Transformer] = Decoder
    networks: int | None = None
    depths: int | None = None
    subwords: bool = False


DROPOUT_PARTS = ("channels", "embedding", "features", "output")
CHANGES: dict[str, Change] = {
    "unchanged": Change(),
    "no label smoothing": Change({"train_stage1.label_smoothing": 0.0}),
    "no dropout": Change({f"model.dropout_{part}": 0.0 for part in DROPOUT_PARTS}),
    "only the last map of each network": Change(depths=1),
    "only the first network": Change(networks=1),
    "channels not standardised": Change({"model.standardise": False}),
    "no doubly stochastic attention": Change({"train_stage1.doubly_stochastic": 0.0}),
    "top-down": Change({"model.attention_position": "between", "model.num_layers": 2, "model.sentinel": False}),
    "scheduled sampling": Change(decoder=ScheduledSampling),
    "a transformer of two layers": Change({"train_stage1.doubly_stochastic": 0.0}, decoder=Transformer),
    "exponential moving average of the weights": Change({"train_stage1.ema_decay": 0.998}),
    "minimum count of 3": Change({"prepare.min_count": 3}),
    "rare words as two subwords": Change(subwords=True),
    "no channel dropout": Change({"model.dropout_channels": 0.0}),
    "tied embeddings": Change({"model.tie_embeddings": True}),
}
Scores = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--images", type=int, default=1500, help="number of training images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=256, help="width of all layers; 0 = as in params.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="VARIANT")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--minutes", type=float, default=600.0, help="no training is started later")
    args = parser.parse_args()
    waiting = [(name, seed) for seed in args.seeds for name in args.only]
    deadline = time.monotonic() + 60 * args.minutes
    running: dict[Future[Scores], tuple[str, int]] = {}
    results: dict[str, list[Scores]] = {name: [] for name in args.only}  # the others are compared with the first
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        while running or (waiting and time.monotonic() < deadline):
            while waiting and len(running) < args.jobs and time.monotonic() < deadline:
                name, seed = waiting.pop(0)
                params = changed_params(args.root, args.images, args.epochs, args.width, CHANGES[name].params)
                running[pool.submit(train, args.root, params, CHANGES[name], seed)] = name, seed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, seed = running.pop(future)
                results[name].append(future.result())
                print(f"{name}, seed {seed}: {future.result()}", file=sys.stderr, flush=True)
    print(table(results))


def changed_params(root: Path, num_images: int, epochs: int, width: int, change: dict[str, object]) -> Params:
    """The project's parameters with the smaller sizes and a variant's change."""
    values = load_params(root / "params.yaml").model_dump()
    sizes = {f"model.{part}_size": width for part in ("embedding", "hidden", "attention", "feature") if width}
    stage1 = {"max_train_images": num_images, "epochs": epochs, "devices": 1}
    small = {**{f"train_stage1.{key}": value for key, value in stage1.items()}, "train_stage2.max_train_images": 0}
    for key, value in {**sizes, **small, **change}.items():
        section, name = key.split(".")
        values[section][name] = value
    return Params.model_validate(values)


def train(root: Path, params: Params, change: Change, seed: int) -> Scores:
    """Trains a decoder; returns its scores on dev and the minutes of the training."""
    torch.set_num_threads(1)
    started = time.monotonic()
    source = SelectedChannels(FeatureStore(root / "data/features"), change.networks, change.depths)
    prepared = with_vocabulary(Prepared.load(root / "data/prepared"), params.prepare.min_count, change.subwords)
    settings, vocabulary = params.train_stage1, prepared.vocabulary
    task = TrainingTask(prepared, source.store, params.model, settings, params.prepare.max_words, seed)
    examples = list(task.examples())
    torch.manual_seed(seed)
    decoder = change.decoder(params.model, len(source.columns), len(vocabulary))
    if params.model.standardise:
        decoder.standardise(source.read([example.image for example in examples[:: max(1, len(examples) // 256)]]))
    images, references = prepared.references("dev")
    cider = Cider(references)

    def generate(model: Any, config: GenerationConfig) -> list[tuple[str, ...]]:
        captions = caption_features(model, vocabulary, source, images, config, BATCH_SIZE)
        return [join_subwords(of_image[0].words) for of_image in captions]

    def dev_score(model: Any) -> float:
        return cider.score(generate(model, GREEDY))

    with tempfile.TemporaryDirectory() as folder:
        batches = BatchLoader(examples, source, settings.batch_size, seed)
        trainer = Trainer(decoder, batches, dev_score, settings, seed, Path(folder) / "checkpoint.safetensors")
        history = trainer.train(lambda _: None, lambda *_: None)
    minutes = (time.monotonic() - started) / 60
    scores = score_captions(generate(decoder.eval(), BEAM), references)
    greedy = max(row["dev_cider"] for row in history)
    return {"greedy": greedy, "bleu_4": scores["bleu_4"], "cider": scores["cider"], "minutes": minutes}


class SelectedChannels:
    """The stored features of the first ``networks``, and of each its first ``depths`` feature maps; None means all."""

    def __init__(self, store: FeatureStore, networks: int | None, depths: int | None) -> None:
        self.store = store
        selected = [list(layers.values())[:depths] for layers in list(parts_of(store).values())[:networks]]
        self.columns = torch.cat([torch.arange(s.start, s.stop) for layers in selected for s in layers])

    def read(self, images: Sequence[str]) -> Tensor:
        features = self.store.read(images)
        return features if len(self.columns) == features.shape[2] else features[:, :, self.columns]


def with_vocabulary(prepared: Prepared, min_count: int, subwords: bool) -> Prepared:
    """The data with the vocabulary of ``min_count``. ``subwords`` splits the rare words of the training captions."""
    train = prepared.captions["train"]
    known = Vocabulary.count((words for of_image in train.values() for words in of_image), min_count)
    if not subwords:
        return replace(prepared, vocabulary=known)
    train, vocabulary = split_rare_words(train, known, min_count)
    return replace(prepared, captions={**prepared.captions, "train": train}, vocabulary=vocabulary)


def table(results: dict[str, list[Scores]]) -> str:
    """Markdown, one row per variant."""
    columns = {"greedy": "greedy CIDEr", "bleu_4": "beam 5: BLEU-4", "cider": "beam 5: CIDEr"}
    half_widths = {key: half_width([[s[key] for s in scores] for scores in results.values()]) for key in columns}
    lines = [["", *columns.values(), "CIDEr gained", "seeds", "minutes"], ["---"] * (len(columns) + 4)]
    base = next(iter(results.values()))
    for name, scores in results.items():
        if not scores:
            continue
        gain = np.mean([s["cider"] for s in scores]) - np.mean([s["cider"] for s in base])
        width = half_widths["cider"] * (1 / len(scores) + 1 / len(base)) ** 0.5
        cells = [
            f"{np.mean([s[key] for s in scores]):.3f} ± {half_widths[key] / len(scores) ** 0.5:.3f}" for key in columns
        ]
        cells.append("" if scores is base else f"{gain:+.3f} ± {width:.3f}")
        lines.append([name, *cells, str(len(scores)), f"{np.mean([s['minutes'] for s in scores]):.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def half_width(groups: Iterable[list[float]]) -> float:
    """Half the width of the 95 % interval of one training, with the deviation pooled over groups (Student 1908).

    NaN if no group has two values.
    """
    repeated = [np.array(group) for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in repeated)
    if not degrees:
        return float("nan")
    variance = sum(float(((group - group.mean()) ** 2).sum()) for group in repeated) / degrees
    return float(stats.t.ppf(0.975, degrees) * variance**0.5)


if __name__ == "__main__":
    main()
