"""Rules that every strategy keeps."""

from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.test_generate import EVERY, every_strategy
from tests.generation.tiny import decoder_of, model, pictures, with_bias
from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.logits_processor_list import build_logits_processors
from wordgaze.generation.outputs import Caption
from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.vocabulary import SPECIAL, Vocabulary


def captions(strategy: str, seed: int = 0, words: int = 9, **rules: object) -> list[Caption]:
    decoder, vocabulary = model(words, seed)
    return list(chain(*generate(decoder, pictures(6), vocabulary, EVERY[strategy](**rules))))


@every_strategy
@given(seed=st.integers(0, 50), n=st.integers(1, 3))
def test_no_n_gram_is_generated_twice(strategy: str, seed: int, n: int) -> None:
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
def test_banned_words_are_not_generated_and_unknown_ones_do_no_harm(strategy: str) -> None:
    assert any("w1" in caption.words for caption in captions(strategy, seed=2))
    assert not any("w1" in caption.words for caption in captions(strategy, seed=2, bad_words=["w1", "unheard"]))


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_required_words_are_generated(strategy: str, seed: int) -> None:
    for caption in captions(strategy, seed, words=30, max_new_tokens=8, force_words=["w28", "w4|w5"]):
        assert "w28" in caption.words
        assert {"w4", "w5"} & set(caption.words)


@every_strategy
def test_required_words_fill_the_last_places_where_nothing_else_is_left(strategy: str) -> None:
    for caption in captions(strategy, max_new_tokens=2, force_words=["w3", "w4"]):
        assert set(caption.words) == {"w3", "w4"}


@pytest.mark.parametrize("rules", [{"force_words": ["unheard"]}, {"force_words": ["w1"], "bad_words": ["w1"]}])
def test_a_required_word_that_cannot_be_generated_is_named(rules: dict[str, list[str]]) -> None:
    with pytest.raises(ParamsError, match=r"force_words: '(unheard|w1)' is not in the vocabulary of the captioner"):
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


def apply(config: GenerationConfig, vocabulary: Vocabulary, *words: str) -> set[str]:
    """The words that may follow ``words``."""
    processors = build_logits_processors(config, vocabulary, torch.device("cpu"))
    token_ids = torch.tensor([[vocabulary.index[word] for word in words]], dtype=torch.long)
    log_probs = processors(token_ids, torch.zeros(1, len(vocabulary)), torch.zeros(1, dtype=torch.long))
    return {word for word, x in zip(vocabulary.words, log_probs[0].tolist(), strict=True) if x == 0}


SMALL = Vocabulary((*SPECIAL, "a", "dog", "runs"))


@pytest.mark.parametrize(
    ("rules", "words", "allowed"),
    [
        ({}, (), {"<end>", "a", "dog", "runs"}),
        ({"bad_words": ["dog", "<end>", "unheard"]}, (), {"<end>", "a", "runs"}),  # special tokens are not words
        ({"min_new_tokens": 2}, ("a",), {"a", "dog", "runs"}),
        ({"min_new_tokens": 2}, ("a", "dog"), {"<end>", "a", "dog", "runs"}),
        ({"no_repeat_ngram_size": 1}, ("a", "dog"), {"<end>", "runs"}),
        ({"no_repeat_ngram_size": 2}, ("a", "dog", "a"), {"<end>", "a", "runs"}),
        ({"no_dangling_end": True}, ("a",), {"a", "dog", "runs"}),
        ({"no_dangling_end": True, "max_new_tokens": 2}, ("dog",), {"<end>", "dog", "runs"}),
        ({"force_words": ["dog|runs"]}, ("a",), {"a", "dog", "runs"}),
        ({"force_words": ["dog|runs"]}, ("runs",), {"<end>", "a", "dog", "runs"}),
        ({"force_words": ["dog|runs"], "max_new_tokens": 2}, ("a",), {"dog", "runs"}),
    ],
)
def test_each_processor_removes_its_words(rules: dict[str, Any], words: tuple[str, ...], allowed: set[str]) -> None:
    assert apply(GenerationConfig.model_validate(rules), SMALL, *words) == allowed


def test_processors_are_built_for_what_is_asked_for() -> None:
    plain = build_logits_processors(GenerationConfig(), SMALL, torch.device("cpu"))
    assert (len(plain.processors), plain.force_words, plain.may_block_end) == (1, None, False)
    config = GenerationConfig(min_new_tokens=1, no_repeat_ngram_size=2, no_dangling_end=True, force_words=("dog",))
    every = build_logits_processors(config, SMALL, torch.device("cpu"))
    assert len(every.processors) == 5
    assert every.may_block_end
    assert every.num_missing_words(torch.tensor([[4, 5], [4, 6]]), torch.tensor([0, 0])).tolist() == [0, 1]
