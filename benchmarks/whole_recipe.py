"""The seconds of a whole recipe, from photographs to scores, without DVC and MLflow.

    python benchmarks/whole_recipe.py PROJECT [--recipe flickr8k_best] [--set finetune.blocks=0 …] [--device cuda]
        [--work FOLDER] [--rehearse]

PROJECT is a folder with ``data/raw`` and ``data/prepared``, as the stages ``download`` and ``prepare`` leave them. What
is computed goes to ``--work``, by default a temporary folder. The scores are those of stage ``evaluate`` on the test
split. ``--set`` changes further parameters. With ``--rehearse`` every split has a few images and a training has one or
two epochs: it shows that everything runs.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.config.params import Params, TrainParams, parse_params
from wordgaze.config.recipes import load_recipe, parse_setting
from wordgaze.core import paths
from wordgaze.core.device import pick_device
from wordgaze.core.files import sha256, write_tensors
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import SPLITS
from wordgaze.distributed.launch import started_ranks
from wordgaze.distributed.ranks import Ranks
from wordgaze.inference.captioner import Captioner
from wordgaze.stages.evaluate import evaluate
from wordgaze.training.finetune import FinetuneTask, finetune
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.training.trainer import EpochMetrics
from wordgaze.vision.feature_extraction import encoder_of, extract_features
from wordgaze.vision.feature_store import TAGGER, FeatureStore, write_manifest
from wordgaze.vision.finetuned_encoder import load_finetuned, write_encoder
from wordgaze.vision.picture_keys import PictureKeys, read_keys
from wordgaze.vision.tagger import Tagger

REHEARSED = {"train": 64, "dev": 16, "test": 16}  # images of each split
T = TypeVar("T")


class Clock:
    """The seconds of each part, printed as soon as it ends."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds[part] = time.perf_counter() - started
        print(f"{part:14} {self.seconds[part]:7.1f} s", flush=True)
        return result


def params_of(recipe: str, extra: dict[str, object], device: str, precision: str, rehearse: bool) -> Params:
    """The default parameters with those of the recipe, and further ones."""
    values: dict[str, Any] = {}
    everywhere = {f"{stage}.{key}": value for stage in ("finetune", "features", "train_stage1", "train_stage2")
                  for key, value in (("device", device), ("precision", precision))}  # fmt: skip
    epochs = {"finetune": 2, "train_stage1": 1, "train_stage2": 1}
    once = {f"{stage}.epochs": number for stage, number in epochs.items()} if rehearse else {}
    for key, value in (load_recipe(recipe).settings | extra | everywhere | once).items():
        *sections, name = key.split(".")
        reduce(lambda found, section: found.setdefault(section, {}), sections, values)[name] = value
    return parse_params(values, f"recipe {recipe}")


def smaller(prepared: Prepared) -> Prepared:
    """The first images of each split."""
    captions = {split: dict(sorted(prepared.captions[split].items())[: REHEARSED[split]]) for split in SPLITS}
    return Prepared(captions, prepared.raw, prepared.vocabulary, prepared.extra)


def finetune_encoder(prepared: Prepared, params: Params) -> None:
    main = partial(finetune_as, prepared, params)
    with started_ranks(params.finetune, main) as ranks:
        main(ranks)


def finetune_as(prepared: Prepared, params: Params, ranks: Ranks) -> None:
    """Trains the encoder as one of the ranks."""
    task = FinetuneTask(
        prepared, paths.RAW / "images", encoder_of(params.features), params.model, params.finetune,
        params.prepare.max_words, params.seed,
    )  # fmt: skip
    ranks.join(task.checksums(), pick_device(params.finetune.device))
    finetune(task, Path("scratch") / "finetune", partial(show, "finetune", ranks), lambda done, total: None, ranks)
    if ranks.is_first:
        write_encoder(paths.FINETUNED_ENCODER, task.encoder.cpu().state_dict(), {"blocks": params.finetune.blocks})


def compute_features(prepared: Prepared, params: Params) -> None:
    settings, encoder = params.features, encoder_of(params.features)
    if params.finetune.blocks:
        load_finetuned(paths.FINETUNED_ENCODER, encoder)
    paths.FEATURES.mkdir(parents=True)
    weights = paths.FEATURES / "encoder.safetensors"
    write_tensors(weights, encoder.state_dict())
    tagger = None if params.finetune.blocks else Tagger.from_networks(encoder.spec, settings.weights)
    write_tensors(paths.FEATURES / TAGGER, tagger.tensors() if tagger else {})
    images = sorted(image for of_split in prepared.captions.values() for image in of_split)
    pictures = PictureKeys.of(images, read_keys(paths.RAW / "images", images), settings.shard_size)
    extract_features(encoder, settings, paths.RAW / "images", pictures, paths.FEATURES)
    write_manifest(paths.FEATURES, encoder.spec, sha256(weights), pictures, settings.dtype, {})


def train(prepared: Prepared, params: Params, stage: str, start: Path | None, folder: Path) -> None:
    settings = params.train_stage1 if start is None else params.train_stage2
    main = partial(train_as, prepared, params, settings, stage, start, folder)
    with started_ranks(settings, main) as ranks:
        main(ranks)


def train_as(
    prepared: Prepared, params: Params, settings: TrainParams, stage: str, start: Path | None, folder: Path,
    ranks: Ranks,
) -> None:  # fmt: skip
    """Trains as one of the ranks."""
    task = TrainingTask(
        prepared, FeatureStore(paths.FEATURES), params.model, settings, params.prepare.max_words, params.seed, start
    )
    ranks.join(task.checksums(), pick_device(settings.device))
    fit(task, Path("scratch") / stage, folder, partial(show, stage, ranks), lambda done, total: None, ranks)


def show(stage: str, ranks: Ranks, row: EpochMetrics) -> None:
    """Prints a row of a training curve, once."""
    values = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "learning_rate")
    if ranks.is_first:
        print(f"  {stage}: {values}", flush=True)


@contextmanager
def working_folder(project: Path, work: Path | None) -> Iterator[None]:
    """Makes ``work`` the working directory, with the photographs of the project."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        (folder / "data").mkdir(parents=True)
        (folder / paths.RAW).symlink_to((project / paths.RAW).resolve())
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--recipe", default="flickr8k_best")
    parser.add_argument("--set", dest="extra", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--work", type=Path, help="a folder that does not exist yet; by default a temporary one")
    parser.add_argument("--rehearse", action="store_true", help="a few images and one epoch")
    args = parser.parse_args()
    if not all((args.project / folder).is_dir() for folder in (paths.RAW, paths.PREPARED)):
        parser.error(f"{args.project} has no {paths.RAW} and {paths.PREPARED}; run dvc repro prepare there")
    params = params_of(args.recipe, dict(map(parse_setting, args.extra)), args.device, args.precision, args.rehearse)
    prepared = Prepared.load(args.project / paths.PREPARED)
    prepared = smaller(prepared) if args.rehearse else prepared
    clock, started = Clock(), time.perf_counter()
    with working_folder(args.project, args.work):
        if params.finetune.blocks:
            clock("finetune", lambda: finetune_encoder(prepared, params))
        clock("features", lambda: compute_features(prepared, params))
        clock("train_stage1", lambda: train(prepared, params, "train_stage1", None, paths.STAGE1))
        clock("train_stage2", lambda: train(prepared, params, "train_stage2", paths.STAGE1, paths.STAGE2))
        captioner, store = Captioner.load(paths.STAGE2, args.device), FeatureStore(paths.FEATURES)
        evaluation = clock("captions", lambda: evaluate(captioner, prepared, store, params))
        report = clock("scores", lambda: evaluation.report(params.dataset.name, ""))
        clock("intervals", evaluation.details)
    print(f"together       {time.perf_counter() - started:7.1f} s")
    for name, scores in report.scores.items():
        print(f"{name:12} BLEU-4 {scores.bleu_4:.4f}  CIDEr {scores.cider:.4f}")
    if torch.cuda.is_available():
        print(f"peak memory of the GPU {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
