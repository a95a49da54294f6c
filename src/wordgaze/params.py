"""``params.yaml`` as frozen, typed models: one section a stage, unknown keys refused, every error told at once."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wordgaze.errors import ParamsError

Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Device = Literal["auto", "cpu", "cuda"]
_NETWORK = r"(torchvision|timm)/[\w.]+"
MOST_REQUIRED = 4  # each doubles the banks of a constrained beam
Precision = Literal["auto", "fp32", "bf16"]


class Section(BaseModel):
    """A part of ``params.yaml``. Immutable; a key it does not know is an error; no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScenesParams(Section):
    """The embedded data set: how many pictures are drawn, how large, from which seed."""

    pictures: int = Field(1200, ge=60)
    size: int = Field(224, ge=64, le=1024)
    seed: int = Field(1, ge=0)


class DatasetParams(Section):
    """``download``: which data set, and where it is taken from."""

    name: Literal["scenes", "flickr8k", "flickr30k", "coco", "folder"] = "scenes"
    source: str = ""
    captions: str = ""
    karpathy: str = ""
    train_images: int = Field(0, ge=0)
    dev_images: int = Field(0, ge=0)
    test_images: int = Field(0, ge=0)
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


class PrepareParams(Section):
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


class FeaturesParams(Section):
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


class ModelParams(Section):
    """The decoder. ``layers`` counts all recurrent layers: with ``look: between`` the first one stands before the
    attention. ``feature_size`` 0 attends over the encoder's channels as they are. ``standardise``: each channel with
    mean 0 and deviation 1 over the training images, which matters where networks or depths stand side by side.
    ``dropout_channels`` leaves channels out in all cells of a picture."""

    cell: Literal["lstm", "gru"] = "lstm"
    layers: int = Field(1, ge=1, le=8)
    look: Literal["first", "between", "last"] = "first"
    attention: Literal["additive", "dot", "general", "concat"] = "additive"
    span: Literal["global", "local_m", "local_p"] = "global"
    window: Count = 10
    pace: float = Field(4.0, gt=0)
    hard: bool = False
    soft_share: Share = 0.5
    sentinel: bool = False
    gate: bool = True
    output: Literal["deep", "plain"] = "deep"
    tied: bool = False
    vectors: str = ""
    vectors_frozen: bool = False
    embedding_size: Count = 512
    hidden_size: Count = 512
    attention_size: Count = 512
    feature_size: int = Field(512, ge=0)
    standardise: bool = False
    dropout_channels: Dropout = 0.0
    dropout_embedding: Dropout = 0.5
    dropout_features: Dropout = 0.5
    dropout_output: Dropout = 0.5

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        problems = [
            (self.look == "between" and self.layers < 2, "look: between needs layers: 2 or more"),
            (
                self.sentinel and self.look == "first",
                "sentinel comes from the last word: look must be between or last",
            ),
            (self.sentinel and self.cell == "gru", "sentinel needs a memory cell: cell must be lstm"),
            (self.sentinel and self.hard, "sentinel and hard exclude each other: it is no place in the picture"),
            (self.sentinel and self.span != "global", "sentinel needs span: global"),
            (
                self.sentinel and self.feature_size != self.hidden_size,
                f"sentinel is mixed with the features: feature_size ({self.feature_size}) must be"
                f" hidden_size ({self.hidden_size})",
            ),
            (
                self.attention == "dot" and self.feature_size != self.hidden_size,
                f"attention: dot needs feature_size ({self.feature_size}) equal to hidden_size ({self.hidden_size})",
            ),
            (
                self.output == "plain" and self.look == "last" and self.feature_size != self.hidden_size,
                f"output: plain with look: last adds features to states: feature_size ({self.feature_size}) must be"
                f" hidden_size ({self.hidden_size})",
            ),
            (
                self.tied and self.output == "plain" and self.embedding_size != self.hidden_size,
                f"tied with output: plain needs embedding_size ({self.embedding_size}) equal to"
                f" hidden_size ({self.hidden_size})",
            ),
            (bool(self.vectors_frozen and not self.vectors), "vectors_frozen needs vectors"),
        ]
        if wrong := "; ".join(message for is_wrong, message in problems if is_wrong):
            raise ValueError(wrong)
        return self


class TrainParams(Section):
    """What both training stages share. ``samples`` 0 takes every training image. ``reinforce`` and ``entropy`` are of
    hard attention alone: λ_r and λ_e of Xu et al. 2015, equation 12. ``average``: how much of
    itself the moving average of the weights keeps a step; 0 takes the weights as they are."""

    samples: int = Field(0, ge=0)
    epochs: Count = 20
    batch_size: Count = 16
    learning_rate: float = Field(1e-3, gt=0, le=1)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    label_smoothing: Dropout = 0.1
    doubly_stochastic: float = Field(1.0, ge=0)
    reinforce: float = Field(0.05, ge=0)
    entropy: float = Field(0.002, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    average: Dropout = 0.0
    patience: Count = 4
    dev_images: int = Field(0, ge=0)
    processes: int = Field(1, ge=1, le=64)
    checkpoint_seconds: float = Field(30.0, ge=0)
    device: Device = "auto"
    precision: Precision = "auto"


class FinetuneParams(TrainParams):
    """The second stage can reward captions that it draws, and train the encoder's last ``finetune_blocks`` blocks too,
    from the pictures."""

    objective: Literal["xe", "scst", "both"] = "xe"
    drawn: int = Field(5, ge=2, le=100)
    draw_temperature: float = Field(0.5, gt=0, le=100)
    bleu_share: Share = 0.0
    cross_entropy: float = Field(0.1, ge=0)
    finetune_blocks: int = Field(0, ge=0)
    finetune_learning_rate: float = Field(1e-5, gt=0, le=1)


Strategy = Literal["greedy", "beam", "diverse", "sample", "mbr", "neighbours"]
Words = Annotated[tuple[str, ...], BeforeValidator(lambda words: tuple(words) if isinstance(words, list) else words)]


class DecodeParams(Section):
    """How captions are found. Log-probabilities are divided by the length to the power of ``length_penalty``, or by
    the formula of Wu et al. 2016; what samples are drawn from is narrowed by temperature, top_k, top_p, typical_p and
    min_p, in this order."""

    strategy: Strategy = "beam"
    num: Count = 1
    max_length: int = Field(20, ge=1, le=200)
    beam_width: int = Field(5, ge=1, le=200)
    length_penalty: float = Field(0.7, ge=0, le=5)
    length_normalisation: Literal["power", "wu"] = "power"
    groups: Count = 5
    diversity: float = Field(0.5, ge=0)
    temperature: float = Field(1.0, ge=0, le=100)
    top_k: int = Field(0, ge=0)
    top_p: Share = 1.0
    typical_p: Share = 1.0
    min_p: Share = 0.0
    mbr_utility: Literal["cider", "bleu"] = "cider"
    mbr_samples: int = Field(20, ge=0, le=1000)
    neighbours: Count = 10
    neighbour_weight: float = Field(2.0, ge=0)
    expected_weight: float = Field(4.0, ge=0)
    min_length: int = Field(0, ge=0)
    no_repeat_ngram: int = Field(0, ge=0)
    complete: bool = False
    banned: Words = ()
    required: Words = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most = {"greedy": 1, "beam": self.beam_width, "diverse": self.beam_width, "neighbours": self.beam_width}
        most["mbr"] = self.beam_width + self.mbr_samples
        if self.num > most.get(self.strategy, self.num):
            raise ValueError(f"num ({self.num}) is more than the {most[self.strategy]} captions {self.strategy} finds")
        if self.strategy == "diverse" and self.beam_width % self.groups:
            raise ValueError(f"beam_width ({self.beam_width}) does not divide into groups ({self.groups})")
        if self.min_length > self.max_length:
            raise ValueError(f"min_length ({self.min_length}) exceeds max_length ({self.max_length})")
        if len(self.required) > (most_required := min(MOST_REQUIRED, self.max_length)):
            raise ValueError(f"required has {len(self.required)} entries; {most_required} is the most")
        return self


class EvaluateParams(Section):
    """``evaluate``: the split, how many pictures get their attention drawn, how often the bootstrap draws."""

    split: Literal["dev", "test"] = "test"
    batch_size: Count = 128
    attention_pictures: int = Field(6, ge=0, le=200)
    resamples: int = Field(1000, ge=100, le=10**6)


class Params(Section):
    """The whole of ``params.yaml``."""

    seed: int = Field(1, ge=0, lt=2**31)
    dataset: DatasetParams = DatasetParams()
    prepare: PrepareParams = PrepareParams()
    features: FeaturesParams = FeaturesParams()
    model: ModelParams = ModelParams()
    train_stage1: TrainParams = TrainParams()
    train_stage2: FinetuneParams = FinetuneParams()
    decode: DecodeParams = DecodeParams()
    evaluate: EvaluateParams = EvaluateParams()

    @model_validator(mode="after")
    def _stage2_sees_no_less(self) -> Self:
        first, second = self.train_stage1.samples, self.train_stage2.samples
        if second and (not first or second < first):
            raise ValueError(
                f"train_stage2.samples ({second}) is smaller than train_stage1.samples ({first or 'all'});"
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
        problems = [_problem(dict(e)) for e in error.errors(include_url=False)]
        raise ParamsError(f"{origin}: " + "; ".join(problems)) from error


def decode_params(**values: object) -> DecodeParams:
    """Decoding settings given as options. Raises ParamsError that names every wrong one."""
    try:
        return DecodeParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError("; ".join(_problem(dict(e)) for e in error.errors(include_url=False))) from error


_TEXTS = ("source", "captions", "karpathy", "weights", "vectors")


def _nulls_as_text(values: object) -> object:
    """DVC writes ``-S x.source=`` as an empty value, which YAML reads as null; the text keys mean ''."""
    if isinstance(values, dict):
        return {key: "" if value is None and key in _TEXTS else _nulls_as_text(value) for key, value in values.items()}
    return values


def _problem(error: dict[str, object]) -> str:
    location = error["loc"]
    assert isinstance(location, tuple)
    key = ".".join(str(part) for part in location) or "params"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a parameter"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}, got {error['input']!r}" if error["type"] != "value_error" else f"{key}: {message}"
