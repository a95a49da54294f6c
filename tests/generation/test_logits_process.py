"""Rules that every strategy keeps."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.generation.test_generate import EVERY, every_strategy

from tests.generation.tiny import decoder_of, model, pictures, with_bias
from wordgaze.core.errors import ParamsError
from wordgaze.generation.generate import generate
from wordgaze.generation.outputs import Caption
from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.vocabulary import SPECIAL, Vocabulary


def captions(strategy: str, seed: int = 0, words: int = 9, **rules: object) -> list[Caption]:
    decoder, vocabulary = model(words, seed)
    return list(chain(*generate(decoder, pictures(6), vocabulary, EVERY[strategy](**rules))))


@every_strategy
@given(seed=st.integers(0, 50), n=st.integers(1, 3))
def test_no_n_gram_is_said_twice(strategy: str, seed: int, n: int) -> None:
    found = captions(strategy, seed, words=6, max_new_tokens=8, no_repeat_ngram_size=n)
    for words in (caption.words for caption in found):
        grams = list(zip(*(words[i:] for i in range(n)), strict=False))
        assert len(set(grams)) == len(grams)


@every_strategy
def test_without_the_rule_n_grams_are_repeated(strategy: str) -> None:
    found = [caption.words for seed in range(5) for caption in captions(strategy, seed, max_new_tokens=8)]
    assert any(len(set(words)) < len(words) for words in found)


@every_strategy
@pytest.mark.parametrize(("least", "most"), [(0, 3), (4, 4), (3, 6)])
def test_captions_keep_to_their_lengths(strategy: str, least: int, most: int) -> None:
    found = captions(strategy, min_new_tokens=least, max_new_tokens=most)
    assert {least <= len(caption.words) <= most for caption in found} == {True}


@every_strategy
def test_banned_words_are_not_said_and_unknown_ones_do_no_harm(strategy: str) -> None:
    assert any("w1" in caption.words for caption in captions(strategy, seed=2))
    assert not any("w1" in caption.words for caption in captions(strategy, seed=2, bad_words=["w1", "unheard"]))


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_required_words_are_said(strategy: str, seed: int) -> None:
    for caption in captions(strategy, seed, words=30, max_new_tokens=8, force_words=["w28", "w4|w5"]):
        assert "w28" in caption.words
        assert {"w4", "w5"} & set(caption.words)


@every_strategy
def test_required_words_fill_the_last_places_where_nothing_else_is_left(strategy: str) -> None:
    for caption in captions(strategy, max_new_tokens=2, force_words=["w3", "w4"]):
        assert set(caption.words) == {"w3", "w4"}


@pytest.mark.parametrize("rules", [{"force_words": ["unheard"]}, {"force_words": ["w1"], "bad_words": ["w1"]}])
def test_a_required_word_that_cannot_be_said_is_named(rules: dict[str, list[str]]) -> None:
    with pytest.raises(ParamsError, match=r"required: .* '(unheard|w1)'"):
        captions("beam", **rules)


@every_strategy
@pytest.mark.parametrize("longest", [4, 8])
def test_a_complete_caption_does_not_end_on_a_function_word(strategy: str, longest: int) -> None:
    vocabulary = Vocabulary((*SPECIAL, "a", "in", "with", "man", "dog", "runs"))
    decoder, _ = decoder_of(vocabulary, 0)
    for word in ("a", "in", "with"):
        with_bias(decoder, vocabulary.index[word], 3.0)
    found, complete = (
        list(
            chain(
                *generate(decoder, pictures(6), vocabulary, EVERY[strategy](max_new_tokens=longest, no_dangling_end=c))
            )
        )
        for c in (False, True)
    )
    assert any(c.words and c.words[-1] in FUNCTION_WORDS for c in found)
    assert not any(c.words and c.words[-1] in FUNCTION_WORDS for c in complete)
