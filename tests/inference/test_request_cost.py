"""What a request may cost is bounded on every setting that takes time or memory."""

import pytest

from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.request_cost import check_cost, hypotheses_of_searches


@pytest.mark.parametrize(
    ("settings", "images", "given_words", "problem"),
    [
        ({"strategy": "sample", "num_return_sequences": 10_000}, 1, 0, "10000 captions of 20 words cost more"),
        ({"strategy": "mbr", "mbr_samples": 1000, "max_new_tokens": 10}, 1, 0, "1005 captions of 10 words cost more"),
        ({"num_beams": 200, "force_words": ["a", "b", "c", "d"]}, 1, 0, "3200 captions of 20 words cost more"),
        ({"num_beams": 200, "max_new_tokens": 200}, 1, 0, "200 captions of 200 words cost more"),
        ({"num_beams": 50, "max_new_tokens": 100}, 100, 0, "100 images with 50 captions of 100 words each cost more"),
        ({}, 257, 0, "257 images are more than the 256"),
        ({}, 1, 3000, "3000 given words are more than the 100"),
        ({"strategy": "neighbours", "num_neighbours": 10**9}, 1, 0, r"num_neighbours .1000000000. is more"),
        ({"bad_words": ("a",) * 2000}, 1, 0, "bad_words has 2000 entries"),
        ({"bad_words": ("a " * 2000,)}, 1, 0, "an entry of bad_words or force_words is longer"),
    ],
)
def test_what_costs_too_much_is_refused(
    settings: dict[str, object], images: int, given_words: int, problem: str
) -> None:
    with pytest.raises(ParamsError, match=problem):
        check_cost(GenerationConfig(**settings), images, given_words=given_words)


def test_what_people_ask_for_is_accepted() -> None:
    check_cost(GenerationConfig(), 256)
    check_cost(GenerationConfig(strategy="neighbours", num_beams=20, name_objects=True), 256)
    check_cost(GenerationConfig(strategy="mbr", mbr_samples=100), 16)
    check_cost(GenerationConfig(num_beams=20, force_words=("a", "b", "c", "d"), name_objects=True), 1)
    check_cost(GenerationConfig(strategy="sample", num_return_sequences=100), 4, given_words=100)


def test_the_search_for_a_name_counts() -> None:
    assert hypotheses_of_searches(GenerationConfig(num_beams=5)) == (5,)
    assert hypotheses_of_searches(GenerationConfig(num_beams=5, name_objects=True)) == (5, 10)
    assert hypotheses_of_searches(GenerationConfig(strategy="greedy", force_words=("a",))) == (2,)
    assert hypotheses_of_searches(GenerationConfig(strategy="greedy", name_objects=True)) == (1, 2)
    with pytest.raises(ParamsError, match="600 captions of 50 words"):
        check_cost(GenerationConfig(num_beams=200, name_objects=True, max_new_tokens=50), 1)
