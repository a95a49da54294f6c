"""What the two training stages share: inputs, tracking, curve, and the deletion of the checkpoint at the end."""

import csv
import logging
import shutil
import time
from pathlib import Path

from wordgaze.config.params import Params, TrainParams
from wordgaze.core import paths
from wordgaze.core.files import atomic_write, fingerprint, sha256, write_json
from wordgaze.core.progress import counter
from wordgaze.core.source import code_fingerprint
from wordgaze.data.prepared import Prepared
from wordgaze.inference.folder_names import WEIGHTS
from wordgaze.text.word_vectors import WordVectors, read_vectors
from wordgaze.tracking.lineage import log_splits
from wordgaze.tracking.runs import WEIGHTS_TAG, StageRun, stage_run
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.training.trainer import EpochMetrics
from wordgaze.vision.feature_store import FeatureStore

_log = logging.getLogger(__name__)


def train(stage: str, params: Params, settings: TrainParams, start: Path | None, folder: Path) -> None:
    """Runs one training stage: writes the captioner to ``folder``, its curve and its best score to ``reports/``.

    An interrupted training continues from its checkpoint, unless the data, the settings or the code have changed.
    """
    task = _task(stage, params, settings, start)
    sections = {
        "seed": params.seed,
        "reproducible": params.reproducible,
        "model": params.model.model_dump(),
        stage: settings.model_dump(),
    }
    with stage_run(stage, sections) as run:
        log_splits(run, params.dataset.name, ["train", "dev"])
        run.metrics(task.vectors.metrics if task.vectors else {})
        scratch = paths.scratch(f"training-{task.key()}")
        history = _fit(stage, task, scratch, folder, run)
        best = max(history, key=lambda row: row["dev_cider"])
        run.metrics({"dev/best_cider": best["dev_cider"], "dev/best_epoch": best["epoch"]})
        run.tag(WEIGHTS_TAG, sha256(folder / WEIGHTS))
        write_curve(paths.REPORTS / f"{stage}.csv", history)
        write_json(paths.REPORTS / f"{stage}.json", {"dev_cider": best["dev_cider"], "epoch": best["epoch"]})
    shutil.rmtree(scratch, ignore_errors=True)


def _task(stage: str, params: Params, settings: TrainParams, start: Path | None) -> TrainingTask:
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    vectors: WordVectors | None = None
    if params.model.word_vectors and start is None:
        vectors = read_vectors(params.model.word_vectors, prepared.vocabulary.words)
        _log.info("word vectors: %s", vectors.summary())
    return TrainingTask(
        prepared, store, params.model, settings, params.prepare.max_words, params.seed,
        start=start, vectors=vectors, image_folder=paths.RAW / "images",
        code=fingerprint(code_fingerprint(stage), params.fixes_kernels), dataset=params.dataset.name,
    )  # fmt: skip


def _fit(stage: str, task: TrainingTask, scratch: Path, folder: Path, run: StageRun) -> list[EpochMetrics]:
    """Trains, and logs the curve and the speed to the run."""
    steps, started = 0, time.monotonic()
    with counter(stage) as report:

        def on_epoch(row: EpochMetrics) -> None:
            run.metrics({_in_group(name): row[name] for name in row if name != "epoch"}, step=int(row["epoch"]))

        def on_step(done: int, total: int) -> None:
            nonlocal steps
            steps += 1  # of this process: an interrupted training has done others before
            report(done, total)

        history = fit(task, scratch, folder, on_epoch, on_step)
    seconds = time.monotonic() - started
    run.metrics({"speed/seconds": seconds, "speed/steps_per_second": steps / seconds})
    return history


def _in_group(name: str) -> str:
    """The name of a column of the curve as MLflow groups charts: ``train_loss`` → ``train/loss``."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("train", "dev") else f"train/{name}"


def write_curve(path: Path, history: list[EpochMetrics]) -> None:
    """Writes one line per epoch, for ``dvc plots show``."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        writer = csv.DictWriter(file, history[-1].keys(), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "epoch": int(row["epoch"])} for row in history)
