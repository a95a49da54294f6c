"""What both training stages do: from prepared captions and stored features to a captioner folder."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from wordgaze.config.params import Stage2Params, TrainParams
from wordgaze.core.errors import ParamsError
from wordgaze.core.files import fingerprint, sha256
from wordgaze.data.object_boxes import TrainingBoxes
from wordgaze.data.prepared import Prepared, captions_fingerprint
from wordgaze.distributed.ranks import Ranks
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.neighbours import MAX_TRAIN_IMAGES, NeighbourReranker
from wordgaze.inference.caption_features import caption_features
from wordgaze.inference.captioner_folder import CaptionerParts, save_captioner
from wordgaze.inference.folder_names import TRAINING_IMAGES, WEIGHTS
from wordgaze.metrics.cider import cider_score
from wordgaze.metrics.document_frequencies import document_frequencies
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.word_vectors import WordVectors
from wordgaze.training.attention_supervision import AttentionSupervision
from wordgaze.training.batches import BatchLoader, Example
from wordgaze.training.confidence import fit_confidence, mean_features
from wordgaze.training.initial import continued_decoder
from wordgaze.training.new_words import add_words
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import EpochMetrics, OnEpoch, OnStep, Trainer
from wordgaze.training.training_images import training_images_text
from wordgaze.vision.feature_store import FeatureSource, FeatureStore
from wordgaze.vision.tagger import Tagger

DEV_BATCH_SIZE = 128
STANDARDISE_IMAGES = 256  # the number of images that the mean and deviation of the channels are estimated from
EXTRA_PER_EXAMPLE = 5  # sentences of extra text per example, about as many as an image has captions
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class TrainingTask:
    """All that the weights of a training depend on.

    start: the captioner folder whose training continues, if any. vectors: word vectors to initialise the embedding
    with, for a decoder that is trained from scratch. code: the fingerprint of the source code. dataset: the name of the
    data set, which the captioner states. seen: the checksums of the images that the captioner is trained on, which it
    states too; None if they are unknown. boxes: those of the objects in the training images, for
    ``attention_supervision``.
    """

    prepared: Prepared
    store: FeatureStore
    model: DecoderConfig
    settings: TrainParams
    max_words: int
    seed: int
    start: Path | None = None
    vectors: WordVectors | None = None
    code: str = ""
    dataset: str = ""
    seen: frozenset[str] | None = None
    boxes: TrainingBoxes = field(default_factory=dict)

    def checksums(self) -> dict[str, str]:
        """Checksums of all that the weights depend on, by names that people know; ranks have to have the same."""
        settings = self.settings.model_dump(exclude={"checkpoint_seconds", "devices"})
        prepared = self.prepared
        captions = (prepared.captions["train"], prepared.captions["dev"], prepared.extra)
        data = [*map(captions_fingerprint, captions), prepared.vocabulary.words]
        values: dict[str, object] = {
            "source code": self.code,
            "params.yaml": [self.model.model_dump(), settings, self.max_words, self.seed],
            "data/prepared": [*data, *([self.boxes] if self.boxes else [])],
            "data/features": self.store.fingerprint,
            "captioner to start from": sha256(self.start / WEIGHTS) if self.start else "",
            "word vectors": self.vectors.matrix.tolist() if self.vectors else [],
        }
        return {name: fingerprint(value) for name, value in values.items()}

    def key(self) -> str:
        """A fingerprint of all that the weights depend on, which names the folder of the checkpoint."""
        return fingerprint(self.checksums())

    def build_decoder(self) -> Decoder:
        """The decoder that training starts from. Raises ModelError if ``start`` has another model, or words that the
        vocabulary does not begin with."""
        if self.start:
            return continued_decoder(self.start, self.model, self.prepared.vocabulary)
        width = self.vectors.matrix.shape[1] if self.vectors else 0
        decoder = Decoder(self.model, self.store.spec.channels, len(self.prepared.vocabulary), width)
        if self.model.standardise:
            standardise(decoder, self.store, self.images())
        if self.vectors:
            with torch.no_grad():
                decoder.embedding.weight.copy_(self.vectors.matrix)
        return decoder

    def build_objective(self) -> Objective:
        """What training minimises."""
        settings, attention = self.settings, self.build_attention_supervision()
        if not isinstance(settings, Stage2Params) or settings.objective == "xe":
            return Objective(attention=attention)
        vocabulary, references = self.prepared.vocabulary, self.prepared.captions["train"]
        self_critical = SelfCriticalLoss(vocabulary, references, settings, self.max_words)
        weight = settings.cross_entropy_weight if settings.objective == "both" else 0.0
        return Objective(weight, self_critical, attention)

    def build_attention_supervision(self) -> AttentionSupervision | None:
        """The term that draws attention into the boxes of objects, if it is asked for.

        Raises ParamsError where there are no boxes, or captions whose nouns cannot be matched with theirs.
        """
        weight, vocabulary = self.settings.attention_supervision, self.prepared.vocabulary
        if not weight:
            return None
        if not self.boxes:
            raise ParamsError(
                f"attention_supervision is {weight:g}, and no training image has boxes of objects; set it to 0, or name"
                " a file of boxes in dataset.boxes"
            )
        if not (vocabulary.tokenizer.is_english and vocabulary.tokenizer.has_words):
            raise ParamsError(
                f"attention_supervision is {weight:g}, and the nouns of boxes are found in English words alone, not in"
                f" those of the tokenizer {vocabulary.tokenizer.name}; set it to 0"
            )
        return AttentionSupervision(vocabulary, self.boxes, self.store.spec.grid, weight)

    def known_captions(self) -> dict[str, list[list[str]]]:
        """The captions of the training images that a captioner knows after training, from all over the data set."""
        train = self.prepared.captions["train"]
        known = sorted(train)[:: max(1, math.ceil(len(train) / MAX_TRAIN_IMAGES))]
        return {image: train[image] for image in known}

    def images(self) -> list[str]:
        """The training images, ``max_train_images`` of them."""
        train = sorted(self.prepared.captions["train"])
        # A fixed stride picks the images from all over the data set, and makes each set a part of every larger one.
        order = sorted(range(len(train)), key=lambda i: (i * 7919) % len(train))
        return [train[i] for i in sorted(order[: self.settings.max_train_images or None])]

    def examples(self) -> Iterator[Example]:
        """The training images with their captions as indices, and the sentences of ``prepare.extra_text`` with the
        images that stand for them; without these for a reward, which needs references of the image."""
        images = self.images()
        for image in images:
            yield example(self.prepared, image, self.prepared.captions["train"][image], self.max_words)
        if isinstance(self.settings, Stage2Params) and self.settings.objective != "xe":
            return
        for image in sorted(set(images).intersection(self.prepared.extra)):
            for part in _in_parts(self.prepared.extra[image], EXTRA_PER_EXAMPLE):
                yield example(self.prepared, image, part, self.max_words)


def standardise(decoder: Decoder, features: FeatureSource, images: Sequence[str]) -> None:
    """Sets the mean and the deviation of each channel to those over some of the images."""
    step = max(1, len(images) // STANDARDISE_IMAGES)
    decoder.standardise(features.read(images[::step][:STANDARDISE_IMAGES]))


def example(prepared: Prepared, image: str, captions: Sequence[Sequence[str]], max_words: int) -> Example:
    """An image with its captions as indices, each truncated to ``max_words`` words."""
    return Example(image, tuple(tuple(prepared.vocabulary.encode(words, max_words)) for words in captions))


class DevScore:
    """The CIDEr of greedy captions of the dev images, ``max_images`` of them, 0 for all."""

    def __init__(self, prepared: Prepared, max_images: int, max_words: int) -> None:
        self.images, self._references = prepared.references("dev", max_images)
        self._frequencies, self._vocabulary = document_frequencies(self._references), prepared.vocabulary
        self._greedy = GenerationConfig(strategy="greedy", max_new_tokens=max_words)

    def __call__(self, decoder: Decoder, features: FeatureSource) -> float:
        """The score of a decoder with the features of the images."""
        captions = caption_features(decoder, self._vocabulary, features, self.images, self._greedy, DEV_BATCH_SIZE)
        return cider_score([best.words for best, *_ in captions], self._references, self._frequencies)


def _in_parts(sentences: Sequence[Sequence[str]], size: int) -> Iterator[Sequence[Sequence[str]]]:
    return (sentences[i : i + size] for i in range(0, len(sentences), size))


def fit(
    task: TrainingTask, scratch: Path, folder: Path, on_epoch: OnEpoch, on_step: OnStep, ranks: Ranks | None = None
) -> list[EpochMetrics]:
    """Trains and writes the captioner to ``folder``; returns the curve. The checkpoint lies in ``scratch``.

    Of several ranks the first one alone writes.
    """
    torch.manual_seed(task.seed)
    decoder, dev_score = task.build_decoder(), DevScore(task.prepared, task.settings.max_dev_images, task.max_words)
    batches = BatchLoader(task.examples(), task.store, task.settings.batch_size, task.seed)
    if ranks:  # a rank with less memory must not shuffle in other windows
        batches.shuffle_in(ranks.from_first(lambda: batches.window))
    trainer = Trainer(
        decoder, batches, partial(dev_score, features=task.store), task.settings, task.seed,
        scratch / CHECKPOINT, objective=task.build_objective(), ranks=ranks,
    )  # fmt: skip
    history = trainer.train(on_epoch, on_step)
    if ranks is None or ranks.is_first:
        _write_captioner(task, folder, decoder)
    return history


def _write_captioner(task: TrainingTask, folder: Path, decoder: Decoder) -> None:
    """Writes the trained decoder with all that a captioner has besides."""
    known, vocabulary, store = task.known_captions(), task.prepared.vocabulary, task.store
    means = mean_features(store, list(known))
    dev = task.prepared.references("dev", task.settings.max_dev_images)
    confidence = fit_confidence(decoder, vocabulary, store, means, list(known.values()), dev, task.max_words)
    neighbours = NeighbourReranker.fit(means, list(known.values()), vocabulary)
    parts = CaptionerParts(neighbours, tagger=Tagger.load(store.tagger_state()), confidence=confidence)
    if task.model.new_words and task.start:  # the last stage: a training continues from the words of the captions
        decoder, vocabulary = add_words(decoder, vocabulary, task.model.new_words)
    documents = {} if task.seen is None else {TRAINING_IMAGES: training_images_text(task.seen)}
    save_captioner(
        folder, decoder, vocabulary, store.spec, store.encoder_state(), parts=parts, dataset=task.dataset,
        documents=documents,
    )  # fmt: skip
