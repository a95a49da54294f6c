"""Diversity by hand."""

from collections.abc import Callable

import pytest

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.diversity import distinct_n, mean_length, novelty, self_bleu, vocabulary_used


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def test_distinct_n_by_hand() -> None:
    captions = words("a dog runs", "a dog sleeps", "")
    assert distinct_n(captions, 1) == 4 / 6  # a, dog, runs, sleeps
    assert distinct_n(captions, 2) == 3 / 4  # a dog, dog runs, dog sleeps
    assert distinct_n(captions, 3) == 1


def test_n_grams_do_not_cross_captions() -> None:
    assert distinct_n(words("a b", "a b"), 2) == 1 / 2


def test_no_n_grams_no_share() -> None:
    assert distinct_n(words("a", "b"), 2) is None
    assert distinct_n(words("", ""), 1) is None


def test_vocabulary_and_length() -> None:
    captions = words("a dog runs", "a cat", "")
    assert vocabulary_used(captions) == 4
    assert mean_length(captions) == 5 / 3
    assert vocabulary_used(words("")) == 0


def test_novelty_is_word_for_word() -> None:
    train = words("a dog runs", "a cat sleeps")
    assert novelty(words("a dog runs", "a dog sleeps", "a dog", "a cat sleeps"), train) == 2 / 4


def test_self_bleu_of_equal_captions_is_1_and_of_unlike_ones_0() -> None:
    same, unlike = words(*["a dog runs over grass"] * 3), words("a dog runs over grass", "two kids play with sand")
    assert self_bleu([same]) == pytest.approx(1)
    assert self_bleu([unlike]) == pytest.approx(0, abs=1e-9)
    assert self_bleu([same, unlike]) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    "pair", [words("a dog runs", "a dog runs"), words("a dog runs far", "a dog runs by"), [[], []]]
)
def test_self_bleu_of_captions_without_four_words_in_common_is_next_to_nothing(pair: list[list[str]]) -> None:
    value = self_bleu([pair])
    assert value is not None and 0 <= value < 0.04


def test_self_bleu_by_hand() -> None:
    # Each of the two has 5 words, 4 of them in the other, and 3 of 4, 2 of 3, 1 of 2 longer n-grams.
    pair = words("a dog runs over grass", "a dog runs over sand")
    assert self_bleu([pair]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))


def test_a_single_caption_has_no_others() -> None:
    assert self_bleu([words("a dog runs over grass")]) is None
    assert self_bleu([[], words("a dog runs over grass"), words(*["a dog runs over grass"] * 2)]) == pytest.approx(1)


@pytest.mark.parametrize(
    "function",
    [lambda c: distinct_n(c, 1), vocabulary_used, mean_length, self_bleu, lambda c: novelty(c, [["a"]])],
    ids=["distinct_n", "vocabulary_used", "mean_length", "self_bleu", "novelty"],
)
def test_no_captions_are_refused(function: Callable[[list[list[str]]], object]) -> None:
    with pytest.raises(ScoreError, match="no captions"):
        function([])


def test_novelty_needs_training_captions() -> None:
    with pytest.raises(ScoreError, match="no training captions"):
        novelty([["a"]], [])


def test_n_grams_of_no_words_are_refused() -> None:
    with pytest.raises(ScoreError, match="n is 0, which is not a valid length"):
        distinct_n([["a"]], 0)
