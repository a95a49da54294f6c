"""The learning curve of a data set: dev scores of captioners that are trained on nested subsets of the images."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.files import fingerprint, read_json, write_json
from wordgaze.core.source import code_fingerprint
from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_features import caption_features
from wordgaze.inspection.power_law import Measured, PowerLaw, Prediction, fit_power_law
from wordgaze.metrics.captions import CaptionScores
from wordgaze.metrics.intervals import Interval, bootstrap, spread
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.training.batches import BatchLoader
from wordgaze.training.fit import CHECKPOINT, DEV_BATCH_SIZE, DevScore, TrainingTask
from wordgaze.training.trainer import Trainer
from wordgaze.vision.feature_store import FeatureStore

METRICS = ("cider", "bleu_4", "bleu_1", "rouge_l")
"""The scores of a curve. METEOR is left out: it takes minutes for each captioner and tells little more."""

LADDER = (50, 200, 1_000, 5_000, 20_000, 100_000)
"""The sizes from which a curve takes those that are clearly below the number of training images."""

MIN_BATCHES = 125
"""The least batches of an epoch: a small subset is passed several times between two evaluations on dev, because with
fewer updates it would be the length of the training that the curve shows."""

EXTRAPOLATED = (2, 4)
"""The multiples of the largest size that the curve is extrapolated to."""

_Z = 1.96  # half the width of a 95 % interval of a normal distribution, in standard errors

OnTraining = Callable[[int, int], None]
"""Called before each training with the number of images and the random seed."""


@dataclass(frozen=True)
class CurvePoint:
    """The scores of ``seeds`` captioners that were trained on ``images`` images each.

    ``words`` is the mean size of their vocabularies. A score's ``low`` and ``high`` are its 95 % interval, which has
    the uncertainty of the dev images (bootstrap) and that of subset and initialisation (deviation over seeds).
    ``deviation`` is the sample standard deviation of each score over seeds, None for one seed.
    """

    images: int
    seeds: int
    words: float
    seconds: float
    scores: Mapping[str, Interval]
    deviation: Mapping[str, float | None]


@dataclass(frozen=True)
class LearningCurve:
    """The points in the order of their sizes, the power law of ``metric`` if it could be fitted, and what it predicts.

    ``check`` is what the law of the smaller sizes alone predicts for the largest one, which was measured.
    """

    dataset: str
    dev_images: int
    metric: str
    points: Sequence[CurvePoint]
    law: PowerLaw | None
    predictions: Sequence[Prediction]
    check: Prediction | None

    def to_json(self) -> dict[str, Any]:
        """All values, without the draws of the power law."""
        values = asdict(self)
        if self.law:
            del values["law"]["draws"]
        return values


@dataclass(frozen=True)
class _Trained:
    """What is kept of one training."""

    words: int
    seconds: float
    scores: Mapping[str, Interval]


def default_sizes(available: int) -> list[int]:
    """The sizes of a curve for a data set of ``available`` training images, at least three where there are enough."""
    sizes = [size for size in LADDER if size <= 0.7 * available]
    if len(sizes) < 2:
        sizes = sorted({max(1, available // divisor) for divisor in (16, 4)})
    return sorted({*sizes, available})


def measure_learning_curve(
    params: Params, sizes: Sequence[int], seeds: Sequence[int], metric: str, on_training: OnTraining
) -> LearningCurve:
    """Trains on subsets of ``data/prepared`` and ``data/features`` with the settings of stage 1, and scores dev.

    ``sizes`` are numbers of images, empty for the default; ``seeds`` has the number of trainings of each size, or one
    number for all. The subsets of one seed are nested. Results are kept in the scratch folder by the content that they
    depend on, so an interrupted curve continues, and another size costs only its own trainings. Nothing is written to
    ``models/``. Raises ParamsError for sizes that the data set cannot fill.
    """
    prepared, store = Prepared.load(paths.PREPARED), FeatureStore(paths.FEATURES)
    sizes = _checked_sizes(sizes, len(prepared.captions["train"]))
    if len(seeds) not in (1, len(sizes)):
        raise ParamsError(f"--seeds has {len(seeds)} numbers for {len(sizes)} sizes; give one number, or one per size")
    counts = list(seeds) * len(sizes) if len(seeds) == 1 else list(seeds)
    points = []
    for size, count in zip(sizes, counts, strict=True):
        trained = [_train_and_score(params, prepared, store, size, seed, on_training) for seed in range(1, count + 1)]
        points.append(_point(size, trained))
    return fitted_curve(params.dataset.name, len(prepared.captions["dev"]), metric, points)


def fitted_curve(dataset: str, dev_images: int, metric: str, points: Sequence[CurvePoint]) -> LearningCurve:
    """The curve of these points, extrapolated by a power law where there are at least three."""
    measured = [Measured(p.images, p.scores[metric].value, _deviation_of(p.scores[metric])) for p in points]
    law = fit_power_law(measured) if len(measured) >= 3 else None
    predictions = [law.predict(measured[-1].images * factor) for factor in EXTRAPOLATED] if law else []
    earlier = fit_power_law(measured[:-1]) if len(measured) >= 4 else None
    check = earlier.predict(measured[-1].images) if earlier else None
    return LearningCurve(dataset, dev_images, metric, points, law, predictions, check)


def _checked_sizes(sizes: Sequence[int], available: int) -> list[int]:
    if not sizes:
        return default_sizes(available)
    ordered = sorted(set(sizes))
    if ordered[0] < 1 or ordered[-1] > available:
        wrong = ordered[0] if ordered[0] < 1 else ordered[-1]
        raise ParamsError(f"--sizes {wrong}: the data set has {available} training images; give 1 to {available}")
    return ordered


def subset(prepared: Prepared, size: int, seed: int, min_count: int, max_words: int) -> Prepared:
    """``size`` training images with the vocabulary that ``prepare`` would make of them; dev and test stay.

    The subsets of a seed are nested. Pieces of words come from a file, which stays that of the whole data set.
    """
    train = prepared.captions["train"]
    order = np.random.default_rng(seed).permutation(sorted(train))
    chosen = {str(image): train[str(image)] for image in sorted(order[:size])}
    vocabulary = prepared.vocabulary
    if vocabulary.tokenizer.has_words:
        captions = (words for of_image in chosen.values() for words in of_image)
        vocabulary = Vocabulary.count(captions, min_count, max_words, vocabulary.tokenizer)
    return replace(prepared, captions={**prepared.captions, "train": chosen}, vocabulary=vocabulary, extra={})


def _train_and_score(
    params: Params, prepared: Prepared, store: FeatureStore, size: int, seed: int, on_training: OnTraining
) -> _Trained:
    """The result of one training, from the scratch folder if it was done before."""
    few = subset(prepared, size, seed, params.prepare.min_count, params.prepare.max_vocabulary)
    settings = params.train_stage1.model_copy(update={"max_train_images": 0})
    code = fingerprint(code_fingerprint("train_stage1"), params.fixes_kernels, MIN_BATCHES)
    task = TrainingTask(few, store, params.model, settings, params.prepare.max_words, seed, code=code)
    folder = paths.scratch("learning-curve")
    kept, scratch = folder / f"{task.key()}.json", folder / f"training-{task.key()}"
    if kept.is_file():
        return _read(kept)
    on_training(size, seed)
    trainer = _trainer(task, scratch)
    seconds = _timed(lambda: trainer.train(lambda _: None, lambda _done, _total: None))
    scores = _score(trainer.decoder, few, store, params.prepare.max_words)
    trained = _Trained(len(few.vocabulary), seconds, scores)
    write_json(kept, asdict(trained))
    shutil.rmtree(scratch, ignore_errors=True)
    return trained


def _timed(work: Callable[[], object]) -> float:
    from time import monotonic

    started = monotonic()
    work()
    return monotonic() - started


def _trainer(task: TrainingTask, scratch: Path) -> Trainer:
    torch.manual_seed(task.seed)
    examples, settings = list(task.examples()), task.settings
    passes = ceil(MIN_BATCHES * settings.batch_size / len(examples))
    batches = BatchLoader(examples * passes, task.store, settings.batch_size, task.seed)
    dev_score, checkpoint = DevScore(task.prepared, settings.max_dev_images, task.max_words), scratch / CHECKPOINT
    score = partial(dev_score, features=task.store)
    return Trainer(task.build_decoder(), batches, score, settings, task.seed, checkpoint)


def _score(decoder: Decoder, prepared: Prepared, store: FeatureStore, max_words: int) -> dict[str, Interval]:
    """The scores of beam search on all dev images, with bootstrap intervals."""
    images, references = prepared.references("dev")
    beam = GenerationConfig(max_new_tokens=max_words)
    found = caption_features(decoder.eval(), prepared.vocabulary, store, images, beam, DEV_BATCH_SIZE)
    captions: list[Sequence[str]] = [best.words for best, *_ in found]
    tokenizer = prepared.vocabulary.tokenizer
    if not tokenizer.has_words:
        captions = [tokenizer.scoring.tokenize(tokenizer.join(words)) for words in captions]
        references = [[tokenizer.scoring.tokenize(text) for text in prepared.raw[image]] for image in images]
    metric = CaptionScores(references, is_english=False)
    intervals = bootstrap(metric, metric.statistics(captions))
    return {name: intervals[name] for name in METRICS}


def _read(path: Path) -> _Trained:
    """Raises DataError for a file of another form, which only a change by hand makes."""
    content = read_json(path, f"delete {path}")
    try:
        scores = {name: Interval(**content["scores"][name]) for name in METRICS}
        return _Trained(int(content["words"]), float(content["seconds"]), scores)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not the result of a training ({error}); delete it") from error


def _point(size: int, trained: Sequence[_Trained]) -> CurvePoint:
    scores, deviations = {}, {}
    for name in METRICS:
        over_seeds = spread([each.scores[name].value for each in trained])
        images = float(np.mean([_deviation_of(each.scores[name]) for each in trained]))
        seeds = (over_seeds.deviation or 0.0) / len(trained) ** 0.5
        half = _Z * float(np.hypot(images, seeds))
        scores[name] = Interval(over_seeds.mean, max(0.0, over_seeds.mean - half), over_seeds.mean + half)
        deviations[name] = over_seeds.deviation
    words = float(np.mean([each.words for each in trained]))
    return CurvePoint(size, len(trained), words, sum(each.seconds for each in trained), scores, deviations)


def _deviation_of(interval: Interval) -> float:
    """The standard error that a 95 % interval stands for."""
    return (interval.high - interval.low) / (2 * _Z)


def gains(curve: LearningCurve) -> list[tuple[int, float]]:
    """For each step from one size to the next, the larger size and the gain of the score per doubling of the images."""
    return [
        (
            b.images,
            (b.scores[curve.metric].value - a.scores[curve.metric].value) / float(np.log2(b.images / a.images)),
        )
        for a, b in pairwise(curve.points)
    ]
