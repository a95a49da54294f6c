"""Several captioners together, and what one learns from all of them.

    python benchmarks/distillation.py --teachers models/a models/b [--root .] [--split dev] [--student FOLDER]

The teachers share the stored features of a project whose ``features`` stage has run. With ``--student`` they caption
the training pictures together, by beam search, and a decoder is trained by stage 1's settings on these captions beside
those of people (sequence-level distillation, Kim and Rush 2016); it is written to the folder and scored below them.
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

BATCH = 128
WAYS = {
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
    parser.add_argument("--captions", type=int, default=2, help="of the teachers, a picture")
    parser.add_argument("--student", type=Path)
    given = parser.parse_args()
    params = load_params(given.root / "params.yaml")
    prepared, store = Prepared.load(given.root / "data/prepared"), FeatureStore(given.root / "data/features")
    teachers = [Captioner.load(folder) for folder in given.teachers]
    print("| | " + " | ".join(f"{way}: {', '.join(METRICS)}" for way in WAYS) + " |\n" + "|---" * (1 + len(WAYS)) + "|")

    def show(name: str, captioners: Sequence[Captioner]) -> None:
        print(f"| {name} | {' | '.join(scores(Together(captioners), prepared, store, given.split))} |", flush=True)

    for folder, teacher in zip(given.teachers, teachers, strict=True):
        show(str(folder), [teacher])
    show("together", teachers)
    if given.student:
        learn(params, taught_by(Together(teachers), prepared, store, given.captions), store, given.student)
        student = Captioner.load(given.student)
        student.neighbours = teachers[0].neighbours  # whose captions are those of people alone
        show(str(given.student), [student])


class Together(Ensemble):
    """Captioners of the same stored features, as one."""

    def __init__(self, captioners: Sequence[Captioner]) -> None:
        super().__init__([captioner.decoder for captioner in captioners])
        self.vocabulary, self.neighbours = captioners[0].vocabulary, captioners[0].neighbours
        self.device, self.dtype = captioners[0].device, captioners[0].decoder.dtype

    def encode(self, features: Tensor) -> Any:
        return super().encode([features] * len(self.members))

    def say_of(self, store: FeatureStore, images: Sequence[str], decode: GenerationConfig) -> list[list[Caption]]:
        model: Any = self
        return caption_features(model, self.vocabulary, store, images, decode, BATCH, neighbours=self.neighbours)


def scores(model: Together, prepared: Prepared, store: FeatureStore, split: Any) -> Iterable[str]:
    """A cell for each way of decoding."""
    images, references = prepared.references(split)
    for decode in WAYS.values():
        found = score_captions([of_one[0].words for of_one in model.say_of(store, images, decode)], references)
        yield ", ".join(f"{found[metric]:.3f}" for metric in METRICS)


def taught_by(teachers: Together, prepared: Prepared, store: FeatureStore, count: int) -> Prepared:
    """With ``count`` captions of the teachers more for each training picture."""
    train = prepared.captions["train"]
    images = list(train)
    found = teachers.say_of(store, images, GenerationConfig(num_return_sequences=count))
    more = {
        image: [*train[image], *(list(caption.words) for caption in of_one)]
        for image, of_one in zip(images, found, strict=True)
    }
    return replace(prepared, captions={**prepared.captions, "train": more})


def learn(params: Params, prepared: Prepared, store: FeatureStore, folder: Path) -> None:
    """Trains from scratch with the settings of stage 1."""
    task = TrainingTask(prepared, store, params.model, params.train_stage1, params.prepare.max_words, params.seed)
    with tempfile.TemporaryDirectory() as scratch, counter("student") as report:
        fit(task, Path(scratch), folder, lambda row: print(row, file=sys.stderr, flush=True), report)


if __name__ == "__main__":
    main()
