"""The settings of generation, section ``generation`` of ``params.yaml``, with the names of transformers."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from wordgaze.core.errors import ParamsError
from wordgaze.core.settings import Count, Settings, Share, problems_of

MAX_FORCE_WORDS = 4
"""Each word of ``force_words`` doubles the number of banks of a constrained beam search."""

MIN_TEMPERATURE = 1e-3
"""The least temperature above 0. Log-probabilities are divided by it in single precision, which must not overflow."""

MAX_TEMPERATURE = 100.0
MAX_WEIGHT = 1000.0
"""The largest weight of a score, and the largest diversity penalty: beyond it the other addend is lost to rounding."""

MAX_SAMPLES = 10_000
"""The most captions of an image that are sampled."""

Strategy = Literal["greedy", "beam", "diverse", "sample", "mbr", "neighbours"]
Words = Annotated[tuple[str, ...], BeforeValidator(lambda words: tuple(words) if isinstance(words, list) else words)]
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


def _check_temperature(value: float) -> float:
    if value and not MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
        raise ValueError(
            f"{value} is not a valid temperature; set 0, which always takes the most probable word, or a number from"
            f" {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g}"
        )
    return value


Temperature = Annotated[float, AfterValidator(_check_temperature)]
"""0 or a number from MIN_TEMPERATURE to MAX_TEMPERATURE."""


class _RaisesParamsError(type(BaseModel)):  # type: ignore[misc]  # the metaclass of pydantic has no public name
    """Translates the error of ``GenerationConfig(...)``. ``Params``, which validates it as its section, is unaffected,
    as it would not be by a translation in ``__init__``."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            raise ParamsError(problems_of(error)) from error


class GenerationConfig(Settings, metaclass=_RaisesParamsError):
    """How captions are generated. The fields have the names and the meaning that they have in transformers.

    ``strategy``: ``greedy``; ``beam``; ``diverse``, beam search in ``num_beam_groups`` groups (Vijayakumar et al.
    2016); ``sample``; ``mbr``, minimum Bayes risk over ``num_beams`` beams and ``mbr_samples`` samples; ``neighbours``,
    beam search whose candidates are reranked by the captions of similar training images. A log-probability is divided
    by the length to the power of ``length_penalty``, or, with ``length_normalisation`` ``wu``, by the formula of Wu et
    al. 2016. Samples are drawn after ``temperature`` (0, or from 0.001 to 100), ``top_k`` (0 is off), ``top_p``,
    ``typical_p`` and ``min_p`` were applied, in this order. ``force_words``: each entry is a word, or several separated
    by ``|`` of which one must occur. With ``name_objects`` a caption has the name of what the encoder's
    classifiers see, if a description would name it with a probability of at least ``naming_threshold``. Raises
    ParamsError that names every value that is not valid.
    """

    strategy: Strategy = "beam"
    num_return_sequences: int = Field(1, ge=1, le=MAX_SAMPLES)
    max_new_tokens: int = Field(20, ge=1, le=200)
    num_beams: int = Field(5, ge=1, le=200)
    length_penalty: float = Field(0.7, ge=0, le=5)
    length_normalisation: Literal["power", "wu"] = "power"
    num_beam_groups: Count = 5
    diversity_penalty: Weight = 0.5
    temperature: Temperature = 1.0
    top_k: int = Field(0, ge=0)
    top_p: Share = 1.0
    typical_p: Share = 1.0
    min_p: Share = 0.0
    mbr_utility: Literal["cider", "bleu"] = "cider"
    mbr_samples: int = Field(20, ge=0, le=1000)
    num_neighbours: Count = 10
    neighbour_weight: Weight = 2.0
    regression_weight: Weight = 4.0
    min_new_tokens: int = Field(0, ge=0)
    no_repeat_ngram_size: int = Field(0, ge=0)
    no_dangling_end: bool = False
    bad_words: Words = ()
    force_words: Words = ()
    name_objects: bool = False
    naming_threshold: float = Field(0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        num, most = self.num_return_sequences, self.max_candidates
        if num > most:
            raise ValueError(
                f"num_return_sequences ({num}) is more than strategy {self.strategy} finds ({most}); lower it, or use"
                " another strategy or more beams"
            )
        if self.strategy == "diverse" and self.num_beams % self.num_beam_groups:
            raise ValueError(
                f"num_beams ({self.num_beams}) is not a multiple of num_beam_groups ({self.num_beam_groups})"
            )
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) exceeds max_new_tokens ({self.max_new_tokens})")
        if len(self.force_words) > (most := min(MAX_FORCE_WORDS, self.max_new_tokens)):
            raise ValueError(f"force_words has {len(self.force_words)} entries; {most} is the most")
        return self

    @property
    def max_candidates(self) -> int:
        """The most captions of an image that the strategy finds."""
        if self.strategy == "greedy":
            return 1
        return {"sample": MAX_SAMPLES, "mbr": self.num_beams + self.mbr_samples}.get(self.strategy, self.num_beams)


def parse_generation_config(**values: Any) -> GenerationConfig:
    """Generation settings given as options. Raises ParamsError that names every value that is not valid."""
    return GenerationConfig(**values)
