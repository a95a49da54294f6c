"""What the two training stages share: inputs, tracking, curves, and the scratch folder's end."""

import csv
import logging
import shutil
import time
from pathlib import Path

from wordgaze.config.params import Params, TrainParams
from wordgaze.core import paths
from wordgaze.core.files import atomic_write, sha256, write_json
from wordgaze.core.progress import counter
from wordgaze.data.prepared import Prepared
from wordgaze.inference.captioner import WEIGHTS
from wordgaze.text.word_vectors import read_vectors
from wordgaze.tracking.runs import stage_run
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.training.trainer import Row
from wordgaze.vision.feature_store import FeatureStore

_log = logging.getLogger(__name__)


def train(stage: str, params: Params, settings: TrainParams, start: Path | None, folder: Path) -> None:
    """Runs one training stage: the captioner to ``folder``, its curve and its best score to ``reports/``."""
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    vectors = None
    if params.model.word_vectors and start is None:
        vectors = read_vectors(params.model.word_vectors, prepared.vocabulary.words)
        _log.info("word vectors: %s", vectors.summary())
    pictures = paths.RAW / "images"
    task = TrainingTask(
        prepared, store, params.model, settings, params.prepare.max_words, params.seed, start, vectors, pictures
    )  # fmt: skip
    sections = {"seed": params.seed, "model": params.model.model_dump(), stage: settings.model_dump()}
    used: list[Path] = []

    def scratch(name: str) -> Path:
        used.append(paths.scratch(name))
        return used[-1]

    steps = 0
    with stage_run(stage, sections) as tracked, counter(stage) as report:
        started = time.monotonic()
        tracked.metrics(vectors.metrics if vectors else {})

        def on_epoch(row: Row) -> None:
            tracked.metrics({k: v for k, v in row.items() if k != "epoch"}, step=int(row["epoch"]))

        def on_step(done: int, total: int) -> None:
            nonlocal steps
            steps += 1  # an interrupted training has done others before
            report(done, total)

        history = fit(task, scratch, folder, on_epoch, on_step)
        seconds = time.monotonic() - started
        tracked.metrics({"seconds": seconds, "steps_per_second": steps / seconds})
        best = max(history, key=lambda row: row["dev_cider"])
        tracked.metrics({"best_dev_cider": best["dev_cider"], "best_epoch": best["epoch"]})
        tracked.tag("weights.sha256", sha256(folder / WEIGHTS))
        write_curve(paths.REPORTS / f"{stage}.csv", history)
        write_json(paths.REPORTS / f"{stage}.json", {"dev_cider": best["dev_cider"], "epoch": best["epoch"]})
    for path in used:
        shutil.rmtree(path, ignore_errors=True)


def write_curve(path: Path, history: list[Row]) -> None:
    """One line an epoch, for ``dvc plots show``."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        writer = csv.DictWriter(file, history[-1].keys(), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in history)
