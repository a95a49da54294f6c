"""Several decoders that speak as one."""

import pytest
import torch

from tests.generation.test_generate import EVERY, every_strategy
from tests.generation.tiny import CHANNELS, argmax_loop, model, pictures, settings, words_of
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.generate import generate
from wordgaze.text.vocabulary import START


@every_strategy
def test_twice_the_same_decoder_generates_what_it_generates_alone(strategy: str) -> None:
    decoder, vocabulary = model(10, 1)
    features, params = pictures(5), EVERY[strategy](max_new_tokens=7)
    alone = generate(decoder, features, vocabulary, params)
    twice = generate(Ensemble([decoder, decoder]), [features, features], vocabulary, params)
    for mine, theirs in zip(alone, twice, strict=True):
        assert [c.words for c in mine] == [c.words for c in theirs]
        assert [c.log_prob for c in mine] == pytest.approx([c.log_prob for c in theirs], abs=1e-4)


def test_the_probability_of_a_word_is_the_mean_of_the_members() -> None:
    (one, _), (two, _) = model(10, 1), model(10, 2)
    features = [pictures(3), torch.randn(3, 9, CHANNELS)]  # each looks at a grid of its own
    both = Ensemble([one, two])
    memory = both.encode(features)
    words = torch.full((3,), START)
    step_inputs = both.prepare_step(both.init_state(memory, 1), memory)
    logits, _, weights = both.step(words, step_inputs, memory)
    expected = [
        torch.softmax(d.step(words, d.prepare_step(d.init_state(d.encode(f), 1), d.encode(f)), d.encode(f)).logits, 1)
        for d, f in zip((one, two), features, strict=True)
    ]
    torch.testing.assert_close(logits.exp(), (expected[0] + expected[1]) / 2)
    assert weights.shape == (3, 4)  # the first one's grid
    torch.testing.assert_close(both.step(words, step_inputs, memory, None, both.word_table()).logits, logits)


def test_two_decoders_agree_on_one_caption_that_neither_need_generate_alone() -> None:
    (one, vocabulary), (two, _) = model(10, 1), model(10, 2)
    features = pictures(8)
    together = [
        found[0].words
        for found in generate(Ensemble([one, two]), [features] * 2, vocabulary, settings("greedy", max_new_tokens=7))
    ]
    alone = [[words_of(vocabulary, argmax_loop(d, f, 7)) for f in features] for d in (one, two)]
    assert together != alone[0]
    assert together != alone[1]
