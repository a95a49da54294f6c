"""The decoding settings, in the names of transformers' ``GenerationConfig``: section ``generation`` of ``params.yaml``."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from wordgaze.core.errors import ParamsError
from wordgaze.core.settings import Count, Settings, Share, problems_of

MOST_REQUIRED = 4  # each doubles the banks of a constrained beam

Strategy = Literal["greedy", "beam", "diverse", "sample", "mbr", "neighbours"]
Words = Annotated[tuple[str, ...], BeforeValidator(lambda words: tuple(words) if isinstance(words, list) else words)]


class GenerationConfig(Settings):
    """How captions are found. Log-probabilities are divided by the length to the power of ``length_penalty``, or by
    the formula of Wu et al. 2016; what samples are drawn from is narrowed by temperature, top_k, top_p, typical_p and
    min_p, in this order."""

    strategy: Strategy = "beam"
    num_return_sequences: Count = 1
    max_new_tokens: int = Field(20, ge=1, le=200)
    num_beams: int = Field(5, ge=1, le=200)
    length_penalty: float = Field(0.7, ge=0, le=5)
    length_normalisation: Literal["power", "wu"] = "power"
    num_beam_groups: Count = 5
    diversity_penalty: float = Field(0.5, ge=0)
    temperature: float = Field(1.0, ge=0, le=100)
    top_k: int = Field(0, ge=0)
    top_p: Share = 1.0
    typical_p: Share = 1.0
    min_p: Share = 0.0
    mbr_utility: Literal["cider", "bleu"] = "cider"
    mbr_samples: int = Field(20, ge=0, le=1000)
    num_neighbours: Count = 10
    neighbour_weight: float = Field(2.0, ge=0)
    regression_weight: float = Field(4.0, ge=0)
    min_new_tokens: int = Field(0, ge=0)
    no_repeat_ngram_size: int = Field(0, ge=0)
    no_dangling_end: bool = False
    bad_words: Words = ()
    force_words: Words = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most = {"greedy": 1, "beam": self.num_beams, "diverse": self.num_beams, "neighbours": self.num_beams}
        most["mbr"] = self.num_beams + self.mbr_samples
        if self.num_return_sequences > most.get(self.strategy, self.num_return_sequences):
            raise ValueError(
                f"num_return_sequences ({self.num_return_sequences}) is more than the {most[self.strategy]} captions {self.strategy} finds"
            )
        if self.strategy == "diverse" and self.num_beams % self.num_beam_groups:
            raise ValueError(
                f"num_beams ({self.num_beams}) does not divide into num_beam_groups ({self.num_beam_groups})"
            )
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens ({self.min_new_tokens}) exceeds max_new_tokens ({self.max_new_tokens})")
        if len(self.force_words) > (most_required := min(MOST_REQUIRED, self.max_new_tokens)):
            raise ValueError(f"force_words has {len(self.force_words)} entries; {most_required} is the most")
        return self


def parse_generation_config(**values: object) -> GenerationConfig:
    """Decoding settings given as options. Raises ParamsError that names every wrong one."""
    try:
        return GenerationConfig.model_validate(values)
    except ValidationError as error:
        raise ParamsError(problems_of(error)) from error
