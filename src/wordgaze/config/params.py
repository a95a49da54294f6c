"""``params.yaml`` as frozen, typed models: one section a stage, unknown keys refused, every error told at once."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from wordgaze.core.errors import ParamsError
from wordgaze.core.settings import Count, Dropout, Settings, Share, problems_of
from wordgaze.generation.config import MAX_TEMPERATURE, MIN_TEMPERATURE, GenerationConfig
from wordgaze.models.config import DecoderConfig

Device = Literal["auto", "cpu", "cuda"]
_NETWORK = r"(torchvision|timm)/[\w.]+"
Precision = Literal["auto", "fp32", "bf16"]


class ScenesParams(Settings):
    """The embedded data set: how many pictures are drawn, how large, from which seed."""

    num_images: int = Field(1200, ge=60)
    image_size: int = Field(224, ge=64, le=1024)
    seed: int = Field(1, ge=0)


class DatasetParams(Settings):
    """``download``: which data set, and where it is taken from."""

    name: Literal["scenes", "flickr8k", "flickr30k", "coco", "folder"] = "scenes"
    source: str = ""
    captions: str = ""
    karpathy: str = ""
    max_train_images: int = Field(0, ge=0)
    max_dev_images: int = Field(0, ge=0)
    max_test_images: int = Field(0, ge=0)
    max_faulty: Share = 0.05
    scenes: ScenesParams = ScenesParams()

    @model_validator(mode="after")
    def _source_is_used(self) -> Self:
        if self.name == "scenes" and self.source:
            raise ValueError("scenes is drawn by the project and takes no source; set name or empty source")
        if self.name == "folder" and not self.source:
            raise ValueError("folder takes your own pictures; set source to their folder")
        if self.name != "folder" and self.captions:
            raise ValueError(
                f"captions names the caption file of the data set folder; empty it, or set name, {self.name}"
            )
        if self.name in ("scenes", "folder") and self.karpathy:
            raise ValueError(f"karpathy is of flickr8k, flickr30k and coco; empty it, or set name, {self.name}")
        return self


class PrepareParams(Settings):
    """``prepare``: cleaning and vocabulary."""

    min_count: Count = 5
    max_vocabulary: int = Field(0, ge=0)
    max_words: int = Field(20, ge=2, le=200)
    dev_share: Share = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _train_is_left(self) -> Self:
        if self.dev_share + self.test_share >= 1:
            raise ValueError(
                f"dev_share ({self.dev_share}) and test_share ({self.test_share}) leave nothing to train on"
            )
        return self


class FeaturesParams(Settings):
    """``features``: the frozen encoder, one network or several with ``+`` between them. ``image_size`` 0 keeps the size
    of the first, ``grid`` 0 its last grid; a ``grid`` of N takes its last map of at least N cells a side, averaged to
    N x N. ``depths``: so many maps of each network, that one and those before it."""

    encoder: Annotated[str, Field(pattern=rf"^{_NETWORK}(\+{_NETWORK})*$")] = "timm/tf_efficientnet_lite0"
    weights: str = "default"
    image_size: int = Field(0, ge=0, le=2048)
    grid: int = Field(0, ge=0, le=128)
    depths: int = Field(1, ge=1, le=8)
    batch_size: int = Field(0, ge=0)
    shard_size: Count = 1024
    device: Device = "auto"
    precision: Precision = "auto"


class TrainParams(Settings):
    """What both training stages share. ``max_train_images`` 0 takes every training image. ``reinforce_weight`` and ``entropy_weight`` are of
    hard attention alone: λ_r and λ_e of Xu et al. 2015, equation 12. ``ema_decay``: how much of
    itself the moving average of the weights keeps a step; 0 takes the weights as they are."""

    max_train_images: int = Field(0, ge=0)
    epochs: Count = 20
    batch_size: Count = 16
    learning_rate: float = Field(1e-3, gt=0, le=1)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    label_smoothing: Dropout = 0.1
    doubly_stochastic: float = Field(1.0, ge=0)
    reinforce_weight: float = Field(0.05, ge=0)
    entropy_weight: float = Field(0.002, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    ema_decay: Dropout = 0.0
    patience: Count = 4
    max_dev_images: int = Field(0, ge=0)
    num_processes: int = Field(1, ge=1, le=64)
    checkpoint_seconds: float = Field(30.0, ge=0)
    device: Device = "auto"
    precision: Precision = "auto"


class FinetuneParams(TrainParams):
    """The second stage can reward captions that it draws, and train the encoder's last ``finetune_blocks`` blocks too,
    from the pictures."""

    objective: Literal["xe", "scst", "both"] = "xe"
    num_samples: int = Field(5, ge=2, le=100)
    sample_temperature: float = Field(0.5, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    bleu_weight: Share = 0.0
    cross_entropy_weight: float = Field(0.1, ge=0)
    finetune_blocks: int = Field(0, ge=0)
    finetune_learning_rate: float = Field(1e-5, gt=0, le=1)


class EvaluateParams(Settings):
    """``evaluate``: the split, how many pictures get their attention drawn, how often the bootstrap draws."""

    split: Literal["dev", "test"] = "test"
    batch_size: Count = 128
    num_attention_images: int = Field(6, ge=0, le=200)
    bootstrap_resamples: int = Field(1000, ge=100, le=10**6)


class Params(Settings):
    """The whole of ``params.yaml``."""

    seed: int = Field(1, ge=0, lt=2**31)
    dataset: DatasetParams = DatasetParams()
    prepare: PrepareParams = PrepareParams()
    features: FeaturesParams = FeaturesParams()
    model: DecoderConfig = DecoderConfig()
    train_stage1: TrainParams = TrainParams()
    train_stage2: FinetuneParams = FinetuneParams()
    generation: GenerationConfig = GenerationConfig()
    evaluate: EvaluateParams = EvaluateParams()

    @model_validator(mode="after")
    def _stage2_sees_no_less(self) -> Self:
        first, second = self.train_stage1.max_train_images, self.train_stage2.max_train_images
        if second and (not first or second < first):
            raise ValueError(
                f"train_stage2.max_train_images ({second}) is smaller than train_stage1.max_train_images ({first or 'all'});"
                " the second stage trains on the larger set"
            )
        return self


def load_params(path: Path) -> Params:
    """Reads ``params.yaml``. Raises ParamsError that names every wrong key at once."""
    return parse_params(read_yaml(path), str(path))


def read_yaml(path: Path) -> object:
    """The plain values of a YAML file, {} of an empty one. Raises ParamsError."""
    try:
        values = parse_yaml(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing; run wordgaze from the root of the project") from error
    return {} if values is None else values


def parse_yaml(text: str | bytes, origin: str) -> object:
    """The plain values that ``text``, as read from ``origin``, stands for. Raises ParamsError."""
    # ruamel.yaml reads YAML 1.2: DVC writes 1e-05, which YAML 1.1 readers take for a string.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParamsError(f"{origin} is not YAML: {reason}") from error


def parse_params(values: object, origin: str) -> Params:
    """Validates plain values, as read from ``origin``. Raises ParamsError that names every wrong key at once."""
    try:
        return Params.model_validate(_nulls_as_text(values))
    except ValidationError as error:
        raise ParamsError(f"{origin}: {problems_of(error)}") from error


_TEXTS = ("source", "captions", "karpathy", "weights", "word_vectors")


def _nulls_as_text(values: object) -> object:
    """DVC writes ``-S x.source=`` as an empty value, which YAML reads as null; the text keys mean ''."""
    if isinstance(values, dict):
        return {key: "" if value is None and key in _TEXTS else _nulls_as_text(value) for key, value in values.items()}
    return values
