"""An ensemble of captioners, and sequence-level distillation of the ensemble into one captioner.

    python benchmarks/distillation.py --teachers models/a models/b [--root .] [--split dev] [--student FOLDER]

The teachers share the stored features of a project in which stage ``features`` has run. With ``--student`` the ensemble
captions the training images by beam search, and a decoder is trained with the settings of stage 1 on these captions in
addition to the references (sequence-level distillation, Kim and Rush 2016). The student is written to the folder and
scored too.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from wordgaze.config.params import Params, load_params
from wordgaze.core.progress import counter
from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.outputs import Caption
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner import Captioner
from wordgaze.metrics.captions import score_captions
from wordgaze.training.fit import TrainingTask, fit
from wordgaze.vision.feature_store import FeatureStore

BATCH_SIZE = 128
CONFIGS = {
    "greedy": GenerationConfig(strategy="greedy"),
    "beam 5": GenerationConfig(),
    "neighbours, of 40": GenerationConfig(strategy="neighbours", num_beams=40),
}
METRICS = ("bleu_4", "cider", "meteor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teachers", type=Path, nargs="+", required=True)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--captions", type=int, default=2, help="number of captions per image by the teachers")
    parser.add_argument("--student", type=Path, help="folder to write the distilled captioner to")
    args = parser.parse_args()
    params = load_params(args.root / "params.yaml")
    prepared, store = Prepared.load(args.root / "data/prepared"), FeatureStore(args.root / "data/features")
    teachers = [Captioner.load(folder) for folder in args.teachers]
    head = ["", *(f"{name}: {', '.join(METRICS)}" for name in CONFIGS)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")

    def print_row(name: str, captioners: Sequence[Captioner]) -> None:
        cells = scores(CaptionerEnsemble(captioners), prepared, store, args.split)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    for folder, teacher in zip(args.teachers, teachers, strict=True):
        print_row(str(folder), [teacher])
    print_row("ensemble", teachers)
    if args.student:
        distill(params, add_captions(CaptionerEnsemble(teachers), prepared, store, args.captions), store, args.student)
        student = Captioner.load(args.student)
        student.parts = teachers[0].parts  # fitted to the references alone
        print_row(str(args.student), [student])


class CaptionerEnsemble(Ensemble):
    """Captioners that share stored features, as one model."""

    def __init__(self, captioners: Sequence[Captioner]) -> None:
        super().__init__([captioner.decoder for captioner in captioners])
        self.vocabulary, self.parts = captioners[0].vocabulary, captioners[0].parts
        self.device, self.dtype = captioners[0].device, captioners[0].decoder.dtype

    def encode(self, features: Tensor) -> Any:
        return super().encode([features] * len(self.members))

    def captions(self, store: FeatureStore, images: Sequence[str], config: GenerationConfig) -> list[list[Caption]]:
        model: Any = self
        return list(caption_features(model, self.vocabulary, store, images, config, BATCH_SIZE, parts=self.parts))


def scores(model: CaptionerEnsemble, prepared: Prepared, store: FeatureStore, split: Any) -> Iterable[str]:
    """The scores of each generation config, a cell of the table each."""
    images, references = prepared.references(split)
    for config in CONFIGS.values():
        captions = model.captions(store, images, config)
        totals = score_captions([of_image[0].words for of_image in captions], references)
        yield ", ".join(f"{totals[metric]:.3f}" for metric in METRICS)


def add_captions(teachers: CaptionerEnsemble, prepared: Prepared, store: FeatureStore, count: int) -> Prepared:
    """Adds ``count`` captions of the teachers to those of each training image."""
    train = prepared.captions["train"]
    images = list(train)
    generated = teachers.captions(store, images, GenerationConfig(num_return_sequences=count))
    extended = {
        image: [*train[image], *(list(caption.words) for caption in of_image)]
        for image, of_image in zip(images, generated, strict=True)
    }
    return replace(prepared, captions={**prepared.captions, "train": extended})


def distill(params: Params, prepared: Prepared, store: FeatureStore, folder: Path) -> None:
    """Trains from scratch with the settings of stage 1."""
    task = TrainingTask(prepared, store, params.model, params.train_stage1, params.prepare.max_words, params.seed)
    with tempfile.TemporaryDirectory() as scratch, counter("student") as report:
        fit(task, Path(scratch), folder, lambda row: print(row, file=sys.stderr, flush=True), report)


if __name__ == "__main__":
    main()
