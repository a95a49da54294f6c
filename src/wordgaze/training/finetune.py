"""Fine-tuning of the encoder: it is trained by the captions of the training images, with a decoder that is not kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from wordgaze.config.params import FinetuneParams, TrainParams
from wordgaze.core.checksums import tensor_digest
from wordgaze.core.device import pick_device, pick_dtype
from wordgaze.core.files import fingerprint
from wordgaze.data.prepared import Prepared, captions_fingerprint
from wordgaze.distributed.ranks import Ranks
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import BatchLoader, Example
from wordgaze.training.fit import CHECKPOINT, DevScore, example, standardise
from wordgaze.training.trainer import EpochMetrics, FinetunedEncoder, OnEpoch, OnStep, Trainer
from wordgaze.vision.augmentation import Augmentation
from wordgaze.vision.encoders import Encoder
from wordgaze.vision.sources import ImageFeatures, ImagePixels

_PLAIN = {"word_vectors": "", "freeze_word_vectors": False, "new_words": "", "hard_attention": False}
"""What the decoder of this training has for the settings of ``model`` that need more than captions, or draw cells."""


@dataclass(frozen=True)
class FinetuneTask:
    """All that the weights of a fine-tuned encoder depend on.

    image_folder: the images, whose names ``prepared`` has. model: the settings of the decoder. image_checksums: a
    checksum of the images. code: the fingerprint of the source code.
    """

    prepared: Prepared
    image_folder: Path
    encoder: Encoder
    model: DecoderConfig
    settings: FinetuneParams
    max_words: int
    seed: int
    image_checksums: str = ""
    code: str = ""

    def checksums(self) -> dict[str, str]:
        """Checksums of all that the weights depend on, by names that people know; ranks have to have the same."""
        settings = self.settings.model_dump(exclude={"checkpoint_seconds", "devices"})
        captions = [captions_fingerprint(self.prepared.captions[split]) for split in ("train", "dev")]
        values: dict[str, object] = {
            "source code": self.code,
            "params.yaml": [self.model.model_dump(), settings, self.max_words, self.seed],
            "data/prepared": [*captions, self.prepared.vocabulary.words],
            "data/raw": self.image_checksums,
            "encoder": tensor_digest(self.encoder.state_dict(), self.encoder.spec.model_dump_json()),
        }
        return {name: fingerprint(value) for name, value in values.items()}

    def key(self) -> str:
        """A fingerprint of all that the weights depend on, which names the folder of the checkpoint."""
        return fingerprint(self.checksums())

    def examples(self) -> Iterator[Example]:
        """The training images with their captions as indices."""
        for image, captions in sorted(self.prepared.captions["train"].items()):
            yield example(self.prepared, image, captions, self.max_words)


def finetune(
    task: FinetuneTask, scratch: Path, on_epoch: OnEpoch, on_step: OnStep, ranks: Ranks | None = None
) -> list[EpochMetrics]:
    """Trains the encoder of the task in place; returns the curve. The checkpoint lies in ``scratch``.

    Raises ModelError if a network has fewer blocks than are to be trained.
    """
    torch.manual_seed(task.seed)
    settings, params = task.settings, _decoder_settings(task.settings)
    device = pick_device(params.device)
    dtype = pick_dtype(params.precision, device)

    fast = task.encoder.frozen_before(settings.blocks, dtype) if device.type == "cpu" else task.encoder

    def take_over() -> None:
        """Gives the encoder of the task the weights that are trained."""
        trained = {name: p.detach() for name, p in fast.named_parameters() if p.requires_grad}
        task.encoder.load_state_dict(trained, strict=False)

    def features() -> ImageFeatures:
        """Those of the encoder as it is now."""
        take_over()
        return ImageFeatures(task.image_folder, task.encoder.optimised(device, dtype))

    decoder = Decoder(task.model.model_copy(update=_PLAIN), task.encoder.spec.channels, len(task.prepared.vocabulary))
    if task.model.standardise:
        standardise(decoder, features(), sorted(task.prepared.captions["train"]))
    pixels = ImagePixels(task.image_folder, task.encoder)
    batches = BatchLoader(task.examples(), pixels, params.batch_size, task.seed)
    dev_score = DevScore(task.prepared, params.max_dev_images, task.max_words)
    augmentation = Augmentation(settings.min_crop, settings.horizontal_flip)
    trainer = Trainer(
        decoder, batches, lambda trained: dev_score(trained, features()), params, task.seed, scratch / CHECKPOINT,
        FinetunedEncoder(fast, settings.blocks, settings.learning_rate, augmentation), ranks=ranks,
    )  # fmt: skip
    history = trainer.train(on_epoch, on_step)
    take_over()
    return history


def _decoder_settings(settings: FinetuneParams) -> TrainParams:
    """The settings of the training of the decoder beside the encoder."""
    return TrainParams(
        max_train_images=0, epochs=settings.epochs, patience=settings.epochs, batch_size=settings.batch_size,
        learning_rate=settings.decoder_learning_rate, devices=settings.devices, device=settings.device,
        checkpoint_seconds=settings.checkpoint_seconds, precision=settings.precision,
    )  # fmt: skip
