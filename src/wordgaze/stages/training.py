"""What the training stages share: inputs, tracking, curve, and the deletion of the checkpoint at the end."""

import csv
import logging
import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from wordgaze.config.params import InitialParams, Params, TrainParams
from wordgaze.core import paths
from wordgaze.core.device import pick_device
from wordgaze.core.files import atomic_write, fingerprint, sha256, write_json
from wordgaze.core.progress import counter
from wordgaze.core.scratch import shared_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.object_boxes import read_boxes
from wordgaze.data.prepared import Prepared
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.inference.folder_names import WEIGHTS
from wordgaze.text.word_vectors import WordVectors, read_vectors
from wordgaze.tracking.lineage import log_splits
from wordgaze.tracking.runs import WEIGHTS_TAG, StageRun, stage_run
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.training.initial import with_words_of
from wordgaze.training.trainer import EpochMetrics, OnEpoch, OnStep
from wordgaze.training.training_images import image_checksums, training_images
from wordgaze.vision.feature_store import FeatureStore

Training = Callable[[OnEpoch, OnStep], list[EpochMetrics]]
"""A training that calls the first function after each epoch and the second after each step; returns the curve."""

_log = logging.getLogger(__name__)


def train(stage: str, params: Params, settings: TrainParams, start: Path | None, folder: Path) -> None:
    """Runs one training stage: writes the captioner to ``folder``, its curve and its best score to ``reports/``.

    An interrupted training continues from its checkpoint, unless the data, the settings or the code have changed.
    Several ranks train together where ``devices`` or the environment of torchrun says so.
    """
    settings = continuing_settings(settings, params.train_stage1.initial)
    main = partial(_train_as, stage, params, settings, start, folder)
    with started_ranks(settings, main) as ranks:
        main(ranks)


def _train_as(
    stage: str, params: Params, settings: TrainParams, start: Path | None, folder: Path, ranks: Ranks
) -> None:
    """Trains as one of the ranks; the first one alone tracks and writes."""
    task = _task(stage, params, settings, start, ranks)
    with scratch_of_ranks(f"training-{task.key()}", ranks) as scratch:
        ranks.join(task.checksums(), pick_device(settings.device))
        training = partial(fit, task, scratch, folder, ranks=ranks)
        if ranks.is_first:
            _track(stage, params, settings, folder, task, training)
        else:
            training(lambda _: None, lambda _, __: None)


def scratch_of_ranks(name: str, ranks: Ranks) -> AbstractContextManager[Path]:
    """The scratch folder ``name`` for a stage that runs as several ranks, of which the first one has it for all.

    Where another experiment trains with the same data and settings, the first rank waits for it, and the others wait
    for the first one; they find the training at its end.
    """
    return shared_scratch(name) if ranks.is_first else nullcontext(paths.scratch(name))


def _track(
    stage: str, params: Params, settings: TrainParams, folder: Path, task: TrainingTask, training: Training
) -> None:
    """Trains as the first rank, and logs the training."""
    sections = {
        "seed": params.seed,
        "reproducible": params.reproducible,
        "model": params.model.model_dump(),
        stage: settings.model_dump(),
    }
    with stage_run(stage, sections) as run:
        log_splits(run, params.dataset.name, ["train", "dev"])
        run.metrics(task.vectors.metrics if task.vectors else {})
        history = followed(stage, settings.epochs, run, training)
        best = max(history, key=lambda row: row["dev_cider"])
        run.metrics({"dev/best_cider": best["dev_cider"], "dev/best_epoch": best["epoch"]})
        run.tag(WEIGHTS_TAG, sha256(folder / WEIGHTS))
        write_curve(paths.REPORTS / f"{stage}.csv", history)
        write_json(paths.REPORTS / f"{stage}.json", {"dev_cider": best["dev_cider"], "epoch": best["epoch"]})


def continuing_settings(settings: TrainParams, initial: InitialParams) -> TrainParams:
    """The settings of a training; where it continues that of a captioner, with its fewer epochs and smaller steps."""
    if not initial.captioner:
        return settings
    epochs, learning_rate = min(settings.epochs, initial.epochs), min(settings.learning_rate, initial.learning_rate)
    return settings.model_copy(update={"epochs": epochs, "learning_rate": learning_rate})


def seen_images(stage: str, params: Params, prepared: Prepared, start: Path | None) -> frozenset[str] | None:
    """The checksums of the images that the captioner is trained on; None where those of a captioner that it continues
    are unknown. Stage 1, which does not read images, has those alone: what stage 2 writes is compared and registered.
    """
    before = training_images(start) if start and params.train_stage1.initial.captioner else frozenset()
    if before is None or stage == "train_stage1":
        return before or None
    return before | image_checksums(paths.RAW / "images" / image for image in prepared.captions["train"])


def _task(stage: str, params: Params, settings: TrainParams, start: Path | None, ranks: Ranks) -> TrainingTask:
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    vectors: WordVectors | None = None
    if start is not None:
        prepared = with_words_of(prepared, start)
    elif params.model.word_vectors:
        vectors = read_vectors(params.model.word_vectors, prepared.vocabulary.words)
        _log.info("word vectors: %s", vectors.summary())
    return TrainingTask(
        prepared, store, params.model, settings, params.prepare.max_words, params.seed,
        start=start, vectors=vectors,
        code=fingerprint(code_fingerprint(stage), params.fixes_kernels), dataset=params.dataset.name,
        seen=seen_images(stage, params, prepared, start) if ranks.is_first else None,
        boxes=read_boxes(paths.PREPARED) if settings.attention_supervision else {},
    )  # fmt: skip


def followed(stage: str, num_epochs: int, run: StageRun, training: Training) -> list[EpochMetrics]:
    """Trains, shows the progress, and logs the curve and the speed to the run."""
    steps, started = 0, time.monotonic()
    epochs = EpochLines(stage, num_epochs)
    with counter(stage) as report:

        def on_epoch(row: EpochMetrics) -> None:
            print(epochs.line(row, time.monotonic() - started), file=sys.stderr, flush=True)
            run.metrics({_in_group(name): row[name] for name in row if name != "epoch"}, step=int(row["epoch"]))

        def on_step(done: int, total: int) -> None:
            nonlocal steps
            steps += 1  # of this process: an interrupted training has done others before
            report(done, total)

        history = training(on_epoch, on_step)
    seconds = time.monotonic() - started
    run.metrics({"speed/seconds": seconds, "speed/steps_per_second": steps / seconds})
    return history


class EpochLines:
    """What is printed after every epoch: the loss, the dev score and the time that is left."""

    def __init__(self, stage: str, epochs: int) -> None:
        self._stage, self._epochs = stage, epochs
        self._best = -math.inf
        self._done = 0  # epochs of this process: an interrupted training has done others before

    def line(self, row: EpochMetrics, seconds: float) -> str:
        """The line for a row of the curve, ``seconds`` after the training has begun in this process.

        A row without a loss, of epoch 0, scores the weights that the training starts from.
        """
        epoch, score = int(row["epoch"]), row["dev_cider"]
        best, self._best = " (best)" if score > self._best else "", max(self._best, score)
        if "train_loss" not in row:
            return f"{self._stage}: before the first epoch, dev CIDEr {score:.3f}"
        self._done += 1
        left = seconds / self._done * (self._epochs - epoch)
        shown = f"{self._stage}: epoch {epoch} of {self._epochs}, loss {row['train_loss']:.3f}"
        return f"{shown}, dev CIDEr {score:.3f}{best}, at most {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


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
