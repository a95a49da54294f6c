"""From prepared captions and stored features to a captioner folder: what both training stages do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from wordgaze.captioner import WEIGHTS, caption_stored, load_decoder, save_captioner
from wordgaze.files import fingerprint, sha256
from wordgaze.metrics.cider import Cider
from wordgaze.model.decoder import Decoder
from wordgaze.params import DecodeParams, ModelParams, TrainParams
from wordgaze.prepared import Prepared
from wordgaze.training.batches import Batches, Example
from wordgaze.training.loop import Row, Trainer
from wordgaze.vision.store import FeatureStore

DEV_BATCH = 128


@dataclass(frozen=True)
class Task:
    """One training: the data, the sizes, the settings, the seed, and the captioner folder to start from, if any."""

    prepared: Prepared
    store: FeatureStore
    model: ModelParams
    settings: TrainParams
    max_words: int
    seed: int
    start: Path | None = None

    def key(self) -> str:
        """Names the scratch folder by all that the weights depend on."""
        settings = self.settings.model_dump(exclude={"checkpoint_seconds"})
        begin = sha256(self.start / WEIGHTS) if self.start else ""
        data = [self.prepared.captions["train"], self.prepared.captions["dev"], self.prepared.vocabulary.words]
        features = sha256(self.store.folder / "manifest.json")
        return fingerprint(self.model.model_dump(), settings, self.max_words, self.seed, data, features, begin)

    def examples(self) -> list[Example]:
        """The training images, the first ``samples`` of them, with their captions as indices."""
        train = sorted(self.prepared.captions["train"].items())
        # A fixed stride takes the first set from all over the data set and makes it a part of every larger one.
        chosen = sorted(range(len(train)), key=lambda i: (i * 7919) % len(train))[: self.settings.samples or None]
        encode = self.prepared.vocabulary.encode
        return [
            Example(train[i][0], tuple(tuple(encode(words, self.max_words)) for words in train[i][1]))
            for i in sorted(chosen)
        ]


def fit(
    task: Task,
    scratch: Callable[[str], Path],
    folder: Path,
    on_epoch: Callable[[Row], None],
    on_step: Callable[[int, int], None],
) -> list[Row]:
    """Trains and writes the captioner to ``folder``; returns the curve."""
    torch.manual_seed(task.seed)
    decoder = Decoder(task.model, task.store.spec.channels, len(task.prepared.vocabulary))
    if task.start:
        load_decoder(task.start, decoder)
    batches = Batches(task.examples(), task.store, task.settings.batch_size, task.seed)
    checkpoint = scratch(f"training-{task.key()}") / "checkpoint.safetensors"
    trainer = Trainer(decoder, batches, _dev_score(task), task.settings, task.seed, checkpoint)
    history = trainer.run(on_epoch, on_step)
    save_captioner(folder, decoder, task.prepared.vocabulary, task.store.spec, task.store.encoder_state())
    return history


def _dev_score(task: Task) -> Callable[[Decoder], float]:
    images, truths = task.prepared.references("dev", task.settings.dev_images)
    cider = Cider(truths)
    greedy = DecodeParams(strategy="greedy", max_length=task.max_words)

    def score(decoder: Decoder) -> float:
        found = caption_stored(decoder, task.prepared.vocabulary, task.store, images, greedy, DEV_BATCH)
        return cider.score([of_one[0].words for of_one in found])

    return score
