"""From prepared captions and stored features to a captioner folder: what both training stages do."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from wordgaze.config.params import FinetuneParams, TrainParams
from wordgaze.core.errors import ModelError
from wordgaze.core.files import fingerprint, sha256
from wordgaze.data.prepared import Prepared
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.neighbours import MAX_TRAIN_IMAGES, NeighbourReranker
from wordgaze.inference.captioner import WEIGHTS, caption_features, load_decoder, save_captioner
from wordgaze.metrics.cider import Cider
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.word_vectors import WordVectors
from wordgaze.training.batches import BatchLoader, Example
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import FinetunedEncoder, Row, Trainer
from wordgaze.vision.encoders import encoder_from_spec
from wordgaze.vision.feature_store import FeatureSource, FeatureStore
from wordgaze.vision.sources import ImageFeatures, ImagePixels

DEV_BATCH = 128
MEASURED = 256  # images from all over the data set tell the deviations of the channels


@dataclass(frozen=True)
class TrainingTask:
    """One training: the data, the sizes, the settings, the seed, the captioner folder to start from, if any, else the
    word vectors, if any; and the folder of the pictures, for an encoder that is trained along."""

    prepared: Prepared
    store: FeatureStore
    model: DecoderConfig
    settings: TrainParams
    max_words: int
    seed: int
    start: Path | None = None
    vectors: WordVectors | None = None
    pictures: Path | None = None

    def key(self) -> str:
        """Names the scratch folder by all that the weights depend on."""
        settings = self.settings.model_dump(exclude={"checkpoint_seconds"})
        begin = sha256(self.start / WEIGHTS) if self.start else ""
        data = [self.prepared.captions["train"], self.prepared.captions["dev"], self.prepared.vocabulary.words]
        features = sha256(self.store.folder / "manifest.json")
        vectors = self.vectors.matrix.tolist() if self.vectors else []
        return fingerprint(self.model.model_dump(), settings, self.max_words, self.seed, data, features, begin, vectors)

    def decoder(self) -> Decoder:
        """The decoder that training begins with. Raises ModelError where ``start`` has other sizes or other words."""
        if self.start:
            decoder, vocabulary = load_decoder(self.start)
            if decoder.sizes != self.model or vocabulary != self.prepared.vocabulary:
                raise ModelError(f"{self.start} was trained with other settings of model or other words; run dvc repro")
            return decoder
        width = self.vectors.matrix.shape[1] if self.vectors else 0
        decoder = Decoder(self.model, self.store.spec.channels, len(self.prepared.vocabulary), width)
        if self.model.standardise:
            images = [example.image for example in self.examples()]
            decoder.standardise(self.store.read(images[:: max(1, len(images) // MEASURED)][:MEASURED]))
        if self.vectors:
            with torch.no_grad():
                decoder.embed.weight.copy_(self.vectors.matrix)
        return decoder

    def tuned(self) -> FinetunedEncoder | None:
        """The encoder, where it is trained too."""
        settings = self.settings
        if not isinstance(settings, FinetuneParams) or not settings.finetune_blocks:
            return None
        encoder = encoder_from_spec(self.store.spec, self.store.encoder_state())
        return FinetunedEncoder(encoder, settings.finetune_blocks, settings.finetune_learning_rate)

    def objective(self) -> Objective:
        """What a step minimises."""
        settings = self.settings
        if not isinstance(settings, FinetuneParams) or settings.objective == "xe":
            return Objective()
        words, references = self.prepared.vocabulary, self.prepared.captions["train"]
        critical = SelfCriticalLoss(words, references, settings, self.max_words)
        return Objective(settings.cross_entropy_weight if settings.objective == "both" else 0.0, critical)

    def neighbours(self) -> NeighbourReranker:
        """What a captioner is to know of the training pictures as they are stored, to find those that look alike."""
        every = sorted(self.prepared.captions["train"].items())
        train = dict(every[:: math.ceil(len(every) / MAX_TRAIN_IMAGES)])
        images, step = list(train), 256
        means = [self.store.read(images[i : i + step]).float().mean(1) for i in range(0, len(images), step)]
        return NeighbourReranker.fit(torch.cat(means), list(train.values()), self.prepared.vocabulary)

    def examples(self) -> list[Example]:
        """The training images, the first ``samples`` of them, with their captions as indices."""
        train = sorted(self.prepared.captions["train"].items())
        # A fixed stride takes the first set from all over the data set and makes it a part of every larger one.
        chosen = sorted(range(len(train)), key=lambda i: (i * 7919) % len(train))[
            : self.settings.max_train_images or None
        ]
        encode = self.prepared.vocabulary.encode
        return [
            Example(train[i][0], tuple(tuple(encode(words, self.max_words)) for words in train[i][1]))
            for i in sorted(chosen)
        ]


def fit(
    task: TrainingTask,
    scratch: Callable[[str], Path],
    folder: Path,
    on_epoch: Callable[[Row], None],
    on_step: Callable[[int, int], None],
) -> list[Row]:
    """Trains and writes the captioner to ``folder``; returns the curve."""
    torch.manual_seed(task.seed)
    decoder, tuned = task.decoder(), task.tuned()
    source: FeatureSource = task.store
    features: FeatureSource = task.store
    if tuned:
        assert task.pictures, "an encoder is trained from pictures"
        source, features = ImagePixels(task.pictures, tuned.encoder), ImageFeatures(task.pictures, tuned.encoder)
    batches = BatchLoader(task.examples(), source, task.settings.batch_size, task.seed)
    checkpoint = scratch(f"training-{task.key()}") / "checkpoint.safetensors"
    trainer = Trainer(
        decoder, batches, _dev_score(task, features), task.settings, task.seed, checkpoint, tuned, task.objective()
    )
    history = trainer.run(on_epoch, on_step)
    state = tuned.encoder.state_dict() if tuned else task.store.encoder_state()
    neighbours = None if tuned else task.neighbours()
    words, spec = task.prepared.vocabulary, task.store.spec
    save_captioner(folder, decoder, words, spec, state, tuned=tuned is not None, neighbours=neighbours)
    return history


def _dev_score(task: TrainingTask, features: FeatureSource) -> Callable[[Decoder], float]:
    images, truths = task.prepared.references("dev", task.settings.max_dev_images)
    cider = Cider(truths)
    greedy = GenerationConfig(strategy="greedy", max_new_tokens=task.max_words)

    def score(decoder: Decoder) -> float:
        found = caption_features(decoder, task.prepared.vocabulary, features, images, greedy, DEV_BATCH)
        return cider.score([of_one[0].words for of_one in found])

    return score
