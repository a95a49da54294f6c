"""Changes one byte of a file that wordgaze has written, and uses the file: the damage must never pass in silence.

    python -m tests.chaos.flips [--tries 500] [--seed 0] [--truncate]

Each try takes a file of a tiny project, flips bits of a random byte (with --truncate it cuts the file at a random place
in half of the tries), and runs what reads the file: the readers of the stages, a training that resumes, features that
resume, a captioner that captions. Allowed are the same result as without the damage, and an error of wordgaze in one
line that names the file or its folder. Everything else is printed, and the exit status is 1.
"""

import argparse
import logging
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from tests.stored_features import write_features
from wordgaze.config.params import TrainParams
from wordgaze.core.checksums import tensor_digest, write_checksums
from wordgaze.core.errors import WordgazeError
from wordgaze.core.files import sha256, write_json, write_tensors
from wordgaze.data.prepared import CAPTIONS, EXTRA_TEXT, VOCABULARY, Prepared, write_prepared_checksums
from wordgaze.data.records import Record, read_records, write_records
from wordgaze.inference.captioner import Captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.text.vocabulary import SPECIAL
from wordgaze.training.fit import CHECKPOINT, TrainingTask, fit
from wordgaze.vision.encoders import Encoder, build_encoder
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.sources import ImageFeatures

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
NAMES = [f"{n:02}.png" for n in range(9)]
SIZES = DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8)
PARAMS = TrainParams(epochs=2, batch_size=4, warmup_steps=1, device="cpu", checkpoint_seconds=0.0)
_SHARD_SIZE = 4


@dataclass(frozen=True)
class Outcome:
    """What became of one try: ``kind`` is ``same``, ``named``, or what must not be."""

    file: str
    kind: str
    detail: str = ""

    @property
    def is_allowed(self) -> bool:
        """Whether the damage was harmless or found."""
        return self.kind in ("same", "named")


class Interrupted(Exception):
    """Ends a training in its second epoch."""


class TinyProject:
    """The files of every kind that wordgaze writes and reads again, in ``root``."""

    def __init__(self, root: Path, encoder: Encoder | None = None) -> None:
        self.root = root
        self.encoder = encoder or build_encoder("timm/test_efficientnet", "random", image_size=64)
        self._write_data()
        self.features(root / "features")
        task = self._task()
        fit(task, root / "training", root / "captioner", lambda _: None, lambda _, __: None)
        (root / "training" / CHECKPOINT).unlink()
        self._interrupt(task)
        later = shutil.ignore_patterns("manifest.json", "index.parquet", "shard-00001*")
        shutil.copytree(root / "features", root / "half-done", ignore=later)
        write_checksums(root / "half-done", [path.name for path in (root / "half-done").glob("shard-*")])

    def readers(self) -> dict[str, Callable[[Path], str]]:
        """What reads the files of each folder: from the folder to a digest of the result."""
        return {
            "raw": lambda folder: repr(read_records(folder / "captions.jsonl")),
            "prepared": lambda folder: repr(Prepared.load(folder)),
            "features": self._read_features,
            "half-done": self._finish_features,
            "training": self._finish_training,
            "captioner": self._caption,
        }

    def files(self) -> list[Path]:
        """The files of all of these folders."""
        return sorted(path for name in self.readers() for path in (self.root / name).rglob("*") if path.is_file())

    def features(self, folder: Path) -> None:
        """Computes the features, or what is missing of them."""
        source = ImageFeatures(self.root / "images", self.encoder)

        def one_by_one(names: Sequence[str]) -> torch.Tensor:  # in a batch the last bits depend on the others
            return torch.cat([source.read([name]) for name in names]).bfloat16()

        write_tensors(folder / "encoder.safetensors", self.encoder.state_dict())
        write_tensors(folder / "tagger.safetensors", {})
        write_features(folder, self.encoder.spec, NAMES, one_by_one, _SHARD_SIZE)

    def _write_data(self) -> None:
        (self.root / "images").mkdir(parents=True)
        (self.root / "raw").mkdir()
        (self.root / "prepared").mkdir()
        rows, records = [], []
        for n, name in enumerate(NAMES):
            colour = list(COLOURS)[n % 3]
            Image.new("RGB", (40, 30), COLOURS[colour]).save(self.root / "images" / name)
            texts = (f"a picture of {colour}", colour)
            records.append(Record(name, texts))
            rows += [
                (name, "train" if n < 6 else "dev", i, text, text, len(text.split())) for i, text in enumerate(texts)
            ]
        write_records(self.root / "raw" / "captions.jsonl", records)
        write_checksums(self.root / "raw", ["captions.jsonl"])
        columns, prepared = ["image", "split", "caption_id", "raw", "tokens_text", "length"], self.root / "prepared"
        pd.DataFrame(rows, columns=columns).to_parquet(prepared / CAPTIONS, index=False)
        pd.DataFrame([], columns=["image", "tokens_text"], dtype=str).to_parquet(prepared / EXTRA_TEXT, index=False)
        words = [*SPECIAL, "a", "picture", "of", *COLOURS]
        write_json(prepared / VOCABULARY, {"words": words, "counts": [1] * len(words)})
        write_prepared_checksums(prepared)

    def _task(self) -> TrainingTask:
        prepared, store = Prepared.load(self.root / "prepared"), FeatureStore(self.root / "features")
        return TrainingTask(prepared, store, SIZES, PARAMS, 6, 1)

    def _interrupt(self, task: TrainingTask) -> None:
        def on_step(done: int, total: int) -> None:
            if done == total - 1:
                raise Interrupted

        try:
            fit(task, self.root / "training", self.root / "nothing", lambda _: None, on_step)
        except Interrupted:
            return

    def _read_features(self, folder: Path) -> str:
        store = FeatureStore(folder)
        tensors = {**store.encoder_state(), **store.tagger_state(), "read": store.read(NAMES)}
        return repr((store.spec, store.shape, tensor_digest(tensors)))

    def _finish_features(self, folder: Path) -> str:
        self.features(folder)
        return self._read_features(folder)

    def _finish_training(self, folder: Path) -> str:
        history = fit(self._task(), folder, folder / "result", lambda _: None, lambda _, __: None)
        return repr(history) + sha256(folder / "result" / "weights.safetensors")

    def _caption(self, folder: Path) -> str:
        captions = Captioner.load(folder, "cpu").caption([self.root / "images" / name for name in NAMES[:3]])
        return repr([[(each.text, each.log_prob, each.confidence) for each in of_image] for of_image in captions])


def tries(project: TinyProject, seed: int, truncate: bool = False) -> Iterator[Outcome]:
    """Endless tries, each on a copy of a folder: every file has its turn, then every file again."""
    generator, expected = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"

        def use(folder: Path) -> str:
            return project.readers()[folder.name](copy)

        while True:
            for file in project.files():
                folder = project.root / file.relative_to(project.root).parts[0]
                if folder not in expected:
                    shutil.copytree(folder, copy)
                    expected[folder] = use(folder)
                    shutil.rmtree(copy)
                shutil.copytree(folder, copy)
                _damage(copy / file.relative_to(folder), generator, truncate and generator.random() < 0.5)
                yield _outcome(str(file.relative_to(project.root)), lambda of=folder: use(of), expected[folder], copy)  # type: ignore[misc]
                shutil.rmtree(copy)


def _damage(path: Path, generator: random.Random, truncate: bool) -> None:
    content = bytearray(path.read_bytes())
    place = generator.randrange(len(content))
    if truncate:
        del content[place:]
    else:
        content[place] ^= generator.randrange(1, 256)
    path.write_bytes(content)


def _outcome(file: str, use: Callable[[], str], expected: str, folder: Path) -> Outcome:
    try:
        result = use()
    except WordgazeError as error:
        message = str(error)
        if "\n" in message or str(folder) not in message:
            return Outcome(file, "an error that names no file or has several lines", message)
        return Outcome(file, "named", message)
    except Exception:
        return Outcome(file, "a traceback", traceback.format_exc())
    return Outcome(file, "same" if result == expected else "another result in silence")


def main() -> int:
    """Runs the campaign and prints a table of the outcomes for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truncate", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for outcome in islice(tries(TinyProject(Path(folder) / "project"), args.seed, args.truncate), args.tries):
            counts.setdefault(outcome.file, Counter())[outcome.kind] += 1
            if not outcome.is_allowed:
                print(f"{outcome.file}: {outcome.kind}\n{outcome.detail}")
    for file, kinds in sorted(counts.items()):
        print(f"{file:45} {', '.join(f'{kind}: {count}' for kind, count in sorted(kinds.items()))}")
    wrong = sum(count for kinds in counts.values() for kind, count in kinds.items() if kind not in ("same", "named"))
    print(f"{args.tries} tries, {wrong} of them wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
