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
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.captioner import caption_stored, read_decoder
from wordgaze.metrics.captions import score_captions
from wordgaze.params import Params, decode_params, load_params
from wordgaze.prepared import Prepared
from wordgaze.training.fit import Task, fit
from wordgaze.vision.store import FeatureStore

CHANGES: dict[str, dict[str, object]] = {
    "as it is": {},
    "no label smoothing": {"train_stage1.label_smoothing": 0.0},
    "no dropout": {f"model.dropout_{part}": 0.0 for part in ("channels", "embedding", "features", "output")},
    "whole channels are never left out": {"model.dropout_channels": 0.0},
    "channels as they come": {"model.standardise": False},
    "need not look everywhere": {"train_stage1.doubly_stochastic": 0.0},
    "top-down": {"model.look": "between", "model.layers": 2, "model.sentinel": False},
    "words tied": {"model.tied": True},
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
    found: dict[str, list[Scores]] = {name: [] for name in given.only}
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < given.jobs and time.monotonic() < until:
                name, seed = waiting.pop(0)
                settings = changed(given.root, given.pictures, given.epochs, given.width, CHANGES[name])
                running[pool.submit(train, given.root, settings, seed)] = name, seed
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                name, seed = running.pop(done)
                found[name].append(done.result())
                print(f"{name}, seed {seed}: {done.result()}", file=sys.stderr, flush=True)
    print(table(found))


def changed(root: Path, pictures: int, epochs: int, width: int, change: dict[str, object]) -> Params:
    """The project's parameters, smaller, and changed."""
    values = load_params(root / "params.yaml").model_dump()
    sizes = {f"model.{part}_size": width for part in ("embedding", "hidden", "attention", "feature") if width}
    small = {"train_stage1.samples": pictures, "train_stage1.epochs": epochs, "train_stage1.processes": 1}
    for key, value in {**sizes, **small, "train_stage2.samples": 0, **change}.items():
        section, name = key.split(".")
        values[section][name] = value
    return Params.model_validate(values)


def train(root: Path, params: Params, seed: int) -> Scores:
    """The scores on dev of what a training makes, and its minutes."""
    torch.set_num_threads(1)
    prepared, store = Prepared.load(root / "data/prepared"), FeatureStore(root / "data/features")
    task = Task(prepared, store, params.model, params.train_stage1, params.prepare.max_words, seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        history = fit(task, lambda name: Path(folder) / name, Path(folder) / "captioner", _quiet, _quiet)
        minutes = (time.monotonic() - started) / 60
        decoder, vocabulary = read_decoder(Path(folder) / "captioner")
    images, references = prepared.references("dev")
    found = caption_stored(decoder.eval(), vocabulary, store, images, decode_params(), 128)
    scores = score_captions([of_one[0].words for of_one in found], references)
    greedy = max(row["dev_cider"] for row in history)
    return {"greedy": greedy, "bleu_4": scores["bleu_4"], "cider": scores["cider"], "minutes": minutes}


def _quiet(*_: Any) -> None:
    pass


def table(found: dict[str, list[Scores]]) -> str:
    """Markdown, a row a setting."""
    kinds = {"greedy": "greedy CIDEr", "bleu_4": "beam 5: BLEU-4", "cider": "beam 5: CIDEr"}
    half = {kind: half_width([[s[kind] for s in scores] for scores in found.values()]) for kind in kinds}
    lines = [["", *kinds.values(), "seeds", "minutes"], ["---"] * (len(kinds) + 3)]
    for name, scores in found.items():
        if not scores:
            continue
        cells = [f"{np.mean([s[kind] for s in scores]):.3f} ± {half[kind] / len(scores) ** 0.5:.3f}" for kind in kinds]
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
