"""``params.yaml`` as frozen, typed models: one section per stage, unknown keys refused, all errors in one message.

The defaults here and in the sections' own modules equal the values of the project's ``params.yaml``.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from wordgaze.config.renamed import renamed
from wordgaze.config.yaml_files import nulls_as_text, read_yaml
from wordgaze.core.errors import ParamsError
from wordgaze.core.settings import Count, Dropout, Settings, Share, key_of, problem
from wordgaze.generation.config import MAX_TEMPERATURE, MIN_TEMPERATURE, GenerationConfig
from wordgaze.models.config import DecoderConfig

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MAX_PROBLEMS = 50

FeatureDtype = Literal["bf16", "int8", "fp8"]
Device = Literal["auto", "cpu", "cuda"]
_NETWORK = r"(torchvision|timm)/[\w.]+"
Precision = Literal["auto", "fp32", "bf16"]
MAX_DEVICES = 1024


def _names_devices(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_DEVICES
    if value != "auto" and not is_number:
        raise ValueError(f"{value!r} is not a number of devices; set auto, or a number from 1 to {MAX_DEVICES}")
    return value


Devices = Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=MAX_DEVICES)], BeforeValidator(_names_devices)]


class ScenesParams(Settings):
    """The built-in synthetic data set. ``image_size`` is height and width in pixels; ``language`` is the captions'."""

    num_images: int = Field(1200, ge=60)
    image_size: int = Field(224, ge=64, le=1024)
    seed: int = Field(1, ge=0)
    language: Literal["en", "de", "zh", "ar", "hi"] = "en"


class DatasetParams(Settings):
    """Stage ``download``: the data set, its source, and the maximum number of images per split (0 for all).

    ``captions``, ``image_column`` and ``caption_column`` say what to read of a folder where that cannot be told.
    ``corrections`` is a folder of ``wordgaze corrections export``, relative to the project, whose images are added to
    the training images of any data set. ``boxes`` is a file of the boxes of objects in the images, relative to the
    project.
    """

    name: Literal["scenes", "flickr8k", "flickr30k", "coco", "folder"] = "scenes"
    source: str = ""
    captions: str = ""
    image_column: str = ""
    caption_column: str = ""
    corrections: str = ""
    karpathy: str = ""
    boxes: str = ""
    max_train_images: int = Field(0, ge=0)
    max_dev_images: int = Field(0, ge=0)
    max_test_images: int = Field(0, ge=0)
    max_faulty: Share = 0.05
    scenes: ScenesParams = ScenesParams()

    @model_validator(mode="after")
    def _fits_data_set(self) -> Self:
        if self.name == "scenes" and self.source:
            raise ValueError("scenes is built in and has no source; set name, or clear source")
        if self.name == "scenes" and self.boxes:
            raise ValueError("scenes has boxes of its own; clear boxes, or change name")
        if self.name == "folder" and not self.source:
            raise ValueError("folder needs source, the folder of your images")
        for key in ("captions", "image_column", "caption_column"):
            if self.name != "folder" and getattr(self, key):
                raise ValueError(f"{key} is for the data set folder; clear it, or change name ({self.name})")
        if self.name in ("scenes", "folder") and self.karpathy:
            raise ValueError(f"karpathy is for flickr8k, flickr30k and coco; clear it, or change name ({self.name})")
        return self


TOKENIZERS = ("ptb", "unicode", "unicode-tr", "unicode-az", "characters", "subwords")
"""The tokenizers that ``prepare.tokenizer`` names; others are given by the path of their file."""


class PrepareParams(Settings):
    """Stage ``prepare``: cleaning, tokenization, splits and vocabulary.

    ``tokenizer``: ``ptb``, English words as in the COCO evaluation; ``unicode``, words of any language, with the names
    ``unicode-tr`` and ``unicode-az`` for the lower case of Turkish and Azerbaijani; ``characters``, also characters of
    scripts without blanks between words; ``subwords``, trained on the training captions; or the path of a
    tokenizer.json of Hugging Face or of a SentencePiece .model. All numbers of words are numbers of its tokens.
    ``extra_text`` is a text file of sentences without images, one per line. Training pairs each with the training image
    whose captions are most similar, so that the decoder learns words that the data set lacks.
    """

    tokenizer: str = "ptb"
    min_count: Count = 5
    max_vocabulary: int = Field(0, ge=0)
    max_words: int = Field(20, ge=2, le=200)
    extra_text: str = ""
    dev_share: Share = 0.1
    test_share: Share = 0.1

    @field_validator("tokenizer")
    @classmethod
    def _names_a_tokenizer(cls, value: str) -> str:
        if value not in TOKENIZERS and not value.endswith((".json", ".model")):
            raise ValueError(
                f"{value!r} is not a tokenizer; set {', '.join(TOKENIZERS)}, or the path of a tokenizer.json of Hugging"
                " Face or of a SentencePiece .model"
            )
        return value

    @model_validator(mode="after")
    def _leaves_training_images(self) -> Self:
        if self.dev_share + self.test_share >= 1:
            raise ValueError(
                f"dev_share ({self.dev_share}) and test_share ({self.test_share}) leave no training images"
            )
        return self


class FeaturesParams(Settings):
    """Stage ``features``: the encoder, one network or several joined by ``+``.

    ``image_size`` 0 takes the input size of the first network and ``grid`` 0 its last grid. A ``grid`` of N takes the
    last feature map with at least N rows, pooled to N x N. ``depths`` feature maps are taken of each network: that one
    and the ones before it. With ``upsample_last`` the last map of each network is taken too where it has fewer rows
    than N, brought to N x N by the same pooling (hypercolumns, Hariharan et al. 2015). ``dtype`` is the format in which
    the features are stored: see :mod:`wordgaze.vision.quantisation`. ``shard_size`` is the number of images per file,
    or somewhat fewer. ``devices`` is the number of ranks that divide the files, as in :class:`TrainParams`. ``address``
    is one of fsspec, such as ``s3://bucket/features``, to which the files are written and from which they are read; ""
    keeps them in the project.
    """

    encoder: str = "timm/tf_efficientnet_lite0"
    weights: str = "default"
    image_size: int = Field(0, ge=0, le=2048)
    grid: int = Field(0, ge=0, le=128)
    depths: int = Field(1, ge=1, le=8)
    upsample_last: bool = False
    batch_size: int = Field(0, ge=0)
    shard_size: Count = 256
    dtype: FeatureDtype = "bf16"
    devices: Devices = "auto"
    address: str = ""
    device: Device = "auto"
    precision: Precision = "auto"

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if re.search(r"://[^/]*:[^/]*@", value):  # it is written to the manifest, and shown by MLflow
            raise ValueError("address has a password; give it to the file system by its own configuration instead")
        if value and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s]+", value):
            raise ValueError(f"{value!r} is not an address; set one such as s3://bucket/features, or an empty text")
        return value

    @field_validator("encoder")
    @classmethod
    def _names_networks(cls, value: str) -> str:
        if not re.fullmatch(rf"{_NETWORK}(\+{_NETWORK})*", value):
            raise ValueError(
                f"{value!r} is not an encoder; set the library and the network, such as torchvision/resnet50 or"
                " timm/resnet50, and several with + between them"
            )
        return value


class InitialParams(Settings):
    """The captioner that the training continues, and for how long and at which rate.

    ``captioner`` is a captioner folder below the project that has the checksum of its contents as its name, so that
    other contents are another value; "" trains from random weights. ``epochs`` and ``learning_rate`` limit those of
    both training stages then.
    """

    captioner: str = ""
    epochs: Count = 3
    learning_rate: float = Field(5e-4, gt=0, le=1)


class TrainParams(Settings):
    """What both training stages share.

    ``max_train_images`` 0 takes all training images. ``attention_supervision`` weighs a term of training by cross
    entropy that draws the attention of nouns into the boxes of their objects, where the data has boxes (Liu et al.
    2017). ``reinforce_weight`` and ``entropy_weight`` apply to hard attention only: λ_r and λ_e of Xu et al. 2015,
    equation 12. ``ema_decay`` is the decay per step of the moving average of the weights; 0 disables it. ``devices`` is
    the number of ranks that divide each batch, one per GPU or process on the CPU: ``auto`` takes all GPUs, or one
    process; N are at most as many as there are GPUs.
    """

    max_train_images: int = Field(600, ge=0)
    epochs: Count = 12
    batch_size: Count = 16
    learning_rate: float = Field(2e-3, gt=0, le=1)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    label_smoothing: Dropout = 0.1
    doubly_stochastic: float = Field(1.0, ge=0)
    attention_supervision: float = Field(0.0, ge=0)
    reinforce_weight: float = Field(0.05, ge=0)
    entropy_weight: float = Field(0.002, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: Dropout = 0.0
    patience: Count = 4
    max_dev_images: int = Field(0, ge=0)
    devices: Devices = "auto"
    checkpoint_seconds: float = Field(30.0, ge=0)
    device: Device = "auto"
    precision: Precision = "auto"


class FinetuneParams(Settings):
    """Stage ``finetune``: training of the encoder by the captions of the training images, before its features are
    computed.

    The last ``blocks`` blocks of each network are trained; 0 leaves the encoder as it is. ``learning_rate`` is theirs.
    The decoder that is trained with them, at ``decoder_learning_rate``, is that of the section ``model``, and is not
    kept. ``min_crop`` is the least fraction of an image's area that a random crop has, 1 for no crops;
    ``horizontal_flip`` mirrors half of the images.
    """

    blocks: int = Field(0, ge=0)
    epochs: int = Field(6, ge=2)
    batch_size: Count = 32
    learning_rate: float = Field(5e-4, gt=0, le=1)
    decoder_learning_rate: float = Field(1e-3, gt=0, le=1)
    min_crop: float = Field(0.7, gt=0, le=1)
    horizontal_flip: bool = True
    devices: Devices = "auto"
    checkpoint_seconds: float = Field(120.0, ge=0)
    device: Device = "auto"
    precision: Precision = "auto"


class Stage1Params(TrainParams):
    """Stage ``train_stage1``: it trains a decoder from random weights, or continues the training of a captioner."""

    initial: InitialParams = InitialParams()


class Stage2Params(TrainParams):
    """Stage ``train_stage2``: it can also optimise a reward of sampled captions (SCST, Rennie et al. 2017)."""

    max_train_images: int = Field(0, ge=0)
    epochs: Count = 10
    learning_rate: float = Field(1e-3, gt=0, le=1)
    warmup_steps: int = Field(50, ge=0)
    objective: Literal["xe", "scst", "both"] = "xe"
    num_samples: int = Field(5, ge=2, le=100)
    sample_temperature: float = Field(0.5, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    bleu_weight: Share = 0.0
    cross_entropy_weight: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _has_cross_entropy_to_supervise(self) -> Self:
        if self.attention_supervision and self.objective == "scst":
            raise ValueError("attention_supervision is a term of the cross entropy; set it to 0, or objective to both")
        return self


class EvaluateParams(Settings):
    """Stage ``evaluate``: the split, the images whose attention is drawn, the number of bootstrap resamples."""

    split: Literal["dev", "test"] = "test"
    batch_size: Count = 128
    num_attention_images: int = Field(6, ge=0, le=200)
    bootstrap_resamples: int = Field(1000, ge=100, le=10**6)


class GateTolerances(Settings):
    """How much worse than the champion a challenger may be in what the gate guards.

    ``length``, ``latency`` and ``size`` are relative: 0.25 allows a change of the mean caption length by a quarter, 1.0
    twice the time per image. ``hallucination`` and ``repetition`` are shares of the captions.
    """

    length: float = Field(0.25, ge=0)
    hallucination: Share = 0.03
    repetition: Share = 0.03
    latency: float = Field(1.0, ge=0)
    size: float = Field(1.0, ge=0)


class GateParams(Settings):
    """What ``promote`` asks of a challenger. ``data`` is ``dev``, ``test``, or the path of a folder or table of images
    with captions. ``minimum`` is the least score of ``metric``, also for the first champion."""

    data: str = Field("dev", min_length=1)
    metric: Literal["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider"] = "cider"
    confidence: float = Field(0.95, ge=0.5, le=0.999)
    minimum: float = Field(0.0, ge=0)
    tolerances: GateTolerances = GateTolerances()


class TrackingParams(Settings):
    """MLflow's registry; no stage depends on it. Two projects on one server take different names."""

    model_name: str = "captioner"
    gate: GateParams = GateParams()

    @field_validator("model_name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if len(value) > 200 or not re.fullmatch(r"\w([\w. -]*\w)?", value):
            raise ValueError(
                f"{value[:200]!r} is not a name for a model; set at most 200 letters, digits, blanks, dots and hyphens,"
                " which begin and end with a letter or a digit"
            )
        return value


class Params(Settings):
    """The whole of ``params.yaml``.

    ``reproducible`` says where the same data and settings give the same bytes: ``same_machine``, or ``any_cpu``, every
    x86-64 processor with AVX2, for which the kernels are fixed (``core/reproducibility.py``). ``auto`` is ``any_cpu``
    for the embedded data set, which trains in minutes on two cores, and ``same_machine`` for all others.
    """

    seed: int = Field(1, ge=0, lt=2**31)
    reproducible: Literal["auto", "same_machine", "any_cpu"] = "auto"
    dataset: DatasetParams = DatasetParams()
    prepare: PrepareParams = PrepareParams()
    finetune: FinetuneParams = FinetuneParams()
    features: FeaturesParams = FeaturesParams()
    model: DecoderConfig = DecoderConfig()
    train_stage1: Stage1Params = Stage1Params()
    train_stage2: Stage2Params = Stage2Params()
    generation: GenerationConfig = GenerationConfig()
    evaluate: EvaluateParams = EvaluateParams()
    tracking: TrackingParams = TrackingParams()

    @property
    def fixes_kernels(self) -> bool:
        """Whether the stages fix the kernels of the CPU."""
        is_embedded = self.dataset.name == "scenes"
        return self.reproducible == "any_cpu" or (self.reproducible == "auto" and is_embedded)

    @model_validator(mode="after")
    def _names_are_english(self) -> Self:
        english = {"model.new_words": self.model.new_words, "generation.name_objects": self.generation.name_objects}
        used = [key for key, value in english.items() if value]
        if used and self.prepare.tokenizer != "ptb":
            raise ValueError(
                f"{used[0]} is for English captions, and prepare.tokenizer is {self.prepare.tokenizer}; turn"
                f" {used[0]} off, or set prepare.tokenizer to ptb"
            )
        return self

    @model_validator(mode="after")
    def _stage2_has_more_images(self) -> Self:
        first, second = self.train_stage1.max_train_images, self.train_stage2.max_train_images
        if second and (not first or second < first):
            raise ValueError(
                f"train_stage2.max_train_images ({second}) is smaller than train_stage1.max_train_images"
                f" ({first or 'all'}); the second stage trains on the larger set"
            )
        return self


def load_params(path: Path) -> Params:
    """Reads ``params.yaml``. Raises ParamsError that names every wrong key in one line."""
    return parse_params(read_yaml(path), str(path))


def parse_params(values: object, origin: str) -> Params:
    """Validates values; ``origin`` names their source in an error. Raises ParamsError that names every wrong key, and
    the new name of every renamed one, in one line."""
    try:
        return Params.model_validate(nulls_as_text(values))
    except ValidationError as error:
        problems = [text for each in error.errors(include_url=False) for text in _problems(each)]
        if len(problems) > _MAX_PROBLEMS:
            problems[_MAX_PROBLEMS:] = [f"and {len(problems) - _MAX_PROBLEMS} more"]
        raise ParamsError(f"{origin}: {'; '.join(problems)}") from error


def _problems(details: "ErrorDetails") -> list[str]:
    pairs = renamed(key_of(details), details["input"]) if details["type"] == "extra_forbidden" else ()
    return [f"{old} is renamed to {new}" for old, new in pairs] or [problem(details)]
