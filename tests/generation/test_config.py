"""The settings of generation: what cannot be computed is refused, and what is accepted gives captions."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generation.tiny import model, pictures
from wordgaze.config.params import Stage2Params
from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import MAX_TEMPERATURE, MIN_TEMPERATURE, GenerationConfig, parse_generation_config
from wordgaze.generation.generate import generate
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.text.vocabulary import SPECIAL


@pytest.mark.parametrize("temperature", [1e-40, 1e-320, 5e-324, 0.0009, -0.5, 100.1, 1e308])
def test_a_temperature_that_cannot_be_computed_is_refused_in_one_line(temperature: float) -> None:
    with pytest.raises(ParamsError) as caught:
        parse_generation_config(strategy="sample", temperature=temperature)
    message = str(caught.value)
    assert message == (
        f"temperature: {temperature} is not a valid temperature; set 0, which always takes the most probable word,"
        " or a number from 0.001 to 100"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diversity_penalty", 1e9),
        ("neighbour_weight", 1e308),
        ("regression_weight", 1e308),
        ("length_penalty", 5.1),
        ("num_return_sequences", 10**12),
        ("top_p", 1.1),
        ("typical_p", -0.1),
        *((name, value) for name in ("temperature", "diversity_penalty", "top_p") for value in (math.inf, math.nan)),
    ],
)
def test_other_values_beyond_their_bounds_are_refused(name: str, value: float) -> None:
    with pytest.raises(ParamsError, match=f"^{name}( must be|:) "):
        parse_generation_config(strategy="sample", **{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_beams": 0}, "num_beams must be at least 1, not 0"),
        ({"beam_width": 3}, "beam_width is not a parameter"),
        ({"num_beams": 3, "num_return_sequences": 4}, "num_return_sequences (4) is more than strategy beam finds (3)"),
    ],
)
def test_the_constructor_raises_an_error_of_wordgaze(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        GenerationConfig(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_for_training_are_drawn_at_a_valid_temperature_too() -> None:
    assert Stage2Params(sample_temperature=MIN_TEMPERATURE).sample_temperature == MIN_TEMPERATURE
    for temperature in (0.0, 1e-40, MAX_TEMPERATURE + 1):
        with pytest.raises(ValueError, match="sample_temperature"):
            Stage2Params(sample_temperature=temperature)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.sampled_from([0.0, 5e-324, 1e-40, 1e-9, low, high, 1e308, math.inf]), st.floats(low, high))


WORDS = st.lists(st.sampled_from([*SPECIAL, "a", "w0", "w1", "w2|w3", "unheard", "<end>|w4"]), max_size=3)
CONFIGS = st.fixed_dictionaries(
    {"strategy": st.sampled_from(["greedy", "beam", "diverse", "sample", "mbr", "neighbours"])},
    optional={
        "num_return_sequences": st.integers(1, 4),
        "max_new_tokens": st.integers(1, 6),
        "num_beams": st.sampled_from([1, 2, 4, 6, 20]),
        "length_penalty": floats(0, 5),
        "length_normalisation": st.sampled_from(["power", "wu"]),
        "num_beam_groups": st.integers(1, 4),
        "diversity_penalty": floats(0, 1000),
        "temperature": floats(MIN_TEMPERATURE, MAX_TEMPERATURE),
        "top_k": st.sampled_from([0, 1, 3, 10**30]),
        "top_p": floats(0, 1),
        "typical_p": floats(0, 1),
        "min_p": floats(0, 1),
        "mbr_utility": st.sampled_from(["cider", "bleu"]),
        "mbr_samples": st.integers(0, 4),
        "num_neighbours": st.sampled_from([1, 2, 10**30]),
        "neighbour_weight": floats(0, 1000),
        "regression_weight": floats(0, 1000),
        "min_new_tokens": st.integers(0, 6),
        "no_repeat_ngram_size": st.integers(0, 3),
        "no_dangling_end": st.booleans(),
        "bad_words": WORDS,
        "force_words": WORDS,
    },
)


@settings(max_examples=150)
@given(CONFIGS, st.integers(0, 3))
def test_whatever_is_accepted_gives_captions_of_real_words(values: dict[str, Any], seed: int) -> None:
    decoder, vocabulary = model(5, seed)
    features = pictures(2)
    neighbours = NeighbourReranker.fit(features.mean(1), [[["w0"]], [["w1", "w2"]]], vocabulary)
    try:
        config = parse_generation_config(**values)
        results = generate(decoder, features, vocabulary, config, neighbours=neighbours)
    except ParamsError as error:
        assert "\n" not in str(error)
        return
    words = set(vocabulary.words[len(SPECIAL) :])
    for captions in results:
        assert 1 <= len(captions) <= config.num_return_sequences
        for caption in captions:
            assert set(caption.words) <= words
            assert len(caption.words) <= config.max_new_tokens
            assert all(math.isfinite(x) for x in (caption.log_prob, caption.score, *caption.word_log_probs))
            assert 0 <= caption.probability <= 1


def test_the_defaults_and_zero_are_valid() -> None:
    assert GenerationConfig() == parse_generation_config()
    assert parse_generation_config(strategy="sample", temperature=0.0, top_p=0.0, typical_p=0.0).temperature == 0
