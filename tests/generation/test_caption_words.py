"""Captions of tokens as captions of words: log-probabilities are summed, attention is averaged."""

import numpy as np
import pytest

from wordgaze.generation.caption_words import in_words
from wordgaze.generation.outputs import Caption
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.tokenizers.subwords import train_subwords


def caption(*tokens: str) -> Caption:
    log_probs = tuple(-0.5 * (i + 1) for i in range(len(tokens)))
    attention = np.random.default_rng(1).random((len(tokens), 2, 2), dtype=np.float32)
    attention /= np.maximum(attention.sum((1, 2), keepdims=True), 1e-9)
    return Caption(tokens, sum(log_probs) - 0.25, 1.0, log_probs, attention, "end", 0.7)


def test_an_english_caption_stays_as_it_is() -> None:
    given = caption("a", "dog", "'s", "ball")
    assert in_words(given, get_tokenizer("ptb")) is given
    assert given.text == "a dog 's ball" and given.joined is None


def test_characters_are_joined_without_blanks() -> None:
    shown = in_words(caption(*"一只狗"), get_tokenizer("characters"))
    assert (shown.text, shown.words) == ("一只狗", ("一", "只", "狗"))
    assert in_words(caption("ein", "hund"), get_tokenizer("unicode")).joined is None


def test_subwords_become_words() -> None:
    tokenizer = train_subwords(["hund", "hunde", "laufen", "lauf", "schnell"], 24)
    tokens = tokenizer.tokenize("hunde laufen")
    given = caption(*tokens)
    shown = in_words(given, tokenizer)
    assert (shown.text, shown.words) == ("hunde laufen", ("hunde", "laufen"))
    first = len(tokenizer.tokenize("hunde"))
    assert 1 < first < len(tokens) - 1
    assert shown.word_log_probs == pytest.approx((sum(given.word_log_probs[:first]), sum(given.word_log_probs[first:])))
    assert np.allclose(shown.attention[0], given.attention[:first].mean(0))
    assert np.allclose(shown.attention.sum((1, 2)), 1)
    assert (shown.log_prob, shown.score, shown.confidence, shown.finish_reason) == (given.log_prob, 1.0, 0.7, "end")
    assert shown.weights.shape == (2, 4)


def test_an_empty_caption_has_no_words() -> None:
    for tokenizer in (train_subwords(["hund"], 10), get_tokenizer("characters")):
        shown = in_words(caption(), tokenizer)
        assert (shown.text, shown.words, shown.attention.shape) == ("", (), (0, 2, 2))
