"""What holds for every strategy: numbers are what they claim, captions do not depend on the batch, odd models are named."""

import math
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.generation.tiny import CELLS, model, pictures, rescored, settings, token_ids, with_bias
from wordgaze.core.errors import ModelError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK

EVERY: dict[str, Callable[..., GenerationConfig]] = {
    "greedy": lambda **values: settings("greedy", **values),
    "beam": lambda **values: settings("beam", num_beams=4, num_return_sequences=2, **values),
    "diverse": lambda **values: settings("diverse", num_beams=4, num_beam_groups=2, num_return_sequences=2, **values),
    "sample": lambda **values: settings("sample", num_return_sequences=3, **values),
    "narrowed": lambda **values: settings(
        "sample", num_return_sequences=3, temperature=0.8, top_k=6, top_p=0.9, min_p=0.01, **values
    ),
    "mbr": lambda **values: settings("mbr", num_return_sequences=2, num_beams=3, mbr_samples=4, **values),
}
every_strategy = pytest.mark.parametrize("strategy", EVERY)


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_a_caption_does_not_depend_on_the_pictures_beside_it(strategy: str, seed: int) -> None:
    decoder, vocabulary = model(12, seed)
    features, params, keys = pictures(7), EVERY[strategy](max_new_tokens=7), [f"picture {i}" for i in range(7)]
    together = generate(decoder, features, vocabulary, params, keys=keys)
    backwards = generate(decoder, features.flip(0), vocabulary, params, keys=keys[::-1])[::-1]
    alone = [
        generate(decoder, picture.unsqueeze(0), vocabulary, params, keys=[key])[0]
        for picture, key in zip(features, keys, strict=True)
    ]
    for other in (backwards, alone):
        assert [[c.words for c in of_one] for of_one in other] == [[c.words for c in of_one] for of_one in together]
        for mine, theirs in zip(chain(*other), chain(*together), strict=True):
            assert mine.score == pytest.approx(theirs.score, abs=1e-5)
            np.testing.assert_allclose(mine.weights, theirs.weights, atol=1e-5)


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_log_prob_and_weights_are_what_teacher_forcing_gives(strategy: str, seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    features, params = pictures(5), EVERY[strategy](max_new_tokens=6, no_repeat_ngram_size=2, bad_words=["w3"])
    for picture, captions in zip(features, generate(decoder, features, vocabulary, params), strict=True):
        for caption in captions:
            words = token_ids(caption, vocabulary)
            assert caption.log_prob == pytest.approx(rescored(decoder, picture, words), abs=1e-4)
            assert len(caption.word_log_probs) == len(caption.words)
            assert caption.probability == pytest.approx(math.exp(caption.log_prob))
            with torch.no_grad():
                weights = decoder(picture.unsqueeze(0), torch.tensor([[[*words, END]]])).weights[0]
            np.testing.assert_allclose(caption.weights, weights[: len(caption.words)].numpy(), atol=1e-5)


@every_strategy
@pytest.mark.parametrize("seed", range(3))
def test_as_many_captions_as_asked_for_and_real_words_only(strategy: str, seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    for special in (PAD, START, UNK):
        with_bias(decoder, special, 50.0)
    params = EVERY[strategy](max_new_tokens=6)
    for captions in generate(decoder, pictures(5), vocabulary, params):
        assert len(captions) == params.num_return_sequences
        assert not {word for caption in captions for word in caption.words} & set(SPECIAL)
        for caption in captions:
            assert caption.weights.shape == (len(caption.words), CELLS)
            assert caption.weights.dtype == np.float32
            np.testing.assert_allclose(caption.weights.sum(1), 1, atol=1e-5)


@every_strategy
def test_a_decoder_that_never_ends_stops_at_the_maximum_length(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, END, -1e4)
    for captions in generate(decoder, pictures(3), vocabulary, EVERY[strategy](max_new_tokens=5)):
        assert {(len(caption.words), caption.finish_reason) for caption in captions} == {(5, "length")}


@every_strategy
def test_a_decoder_that_ends_at_once_gives_an_empty_caption(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, END, 1e3)
    for captions in generate(decoder, pictures(3), vocabulary, EVERY[strategy](max_new_tokens=5)):
        caption = captions[0]
        assert (caption.words, caption.text, caption.finish_reason, caption.word_log_probs) == ((), "", "end", ())
        assert caption.weights.shape == (0, CELLS)
        assert caption.log_prob == pytest.approx(0, abs=1e-6)


@every_strategy
def test_a_caption_that_may_generate_nothing_more_is_stuck_and_generates_so(strategy: str) -> None:
    decoder, vocabulary = model(2, 0)
    params = EVERY[strategy](
        max_new_tokens=9, min_new_tokens=9, no_repeat_ngram_size=1
    )  # two words, neither twice, nine in all
    for captions in generate(decoder, pictures(3), vocabulary, params):
        assert {caption.finish_reason for caption in captions} == {"stuck"}
        assert {frozenset(caption.words) for caption in captions} == {frozenset({"w0", "w1"})}


@every_strategy
def test_nan_is_an_error_and_no_caption(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, 5, float("nan"))
    with pytest.raises(ModelError, match="the decoder returns NaN"):
        generate(decoder, pictures(2), vocabulary, EVERY[strategy](max_new_tokens=5))


class Counting:
    """A decoder that counts the pictures that it looks at, the rows that step_inputs and the rows that speak."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.rows = decoder, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decoder, name)

    def encode(self, features: Tensor) -> Any:
        self.rows["encoded"] += len(features)
        return self.decoder.encode(features)

    def prepare_step(self, state: Any, *others: Any) -> Any:
        self.rows["glimpsed"] += len(state.step)
        return self.decoder.prepare_step(state, *others)

    def step(self, words: Tensor, *others: Any) -> Any:
        self.rows["output"] += len(words)
        return self.decoder.step(words, *others)


@pytest.mark.parametrize("strategy", ["greedy", "sample"])
def test_what_has_ended_costs_nothing_and_a_picture_is_attended_at_once(strategy: str) -> None:
    decoder, vocabulary = model(10, 1)
    counting = Counting(decoder)
    params = EVERY[strategy](max_new_tokens=8)
    captions = list(chain(*generate(counting, pictures(9), vocabulary, params)))
    assert len({len(caption.words) for caption in captions}) > 3
    needed = sum(len(caption.words) + (caption.finish_reason == "end") for caption in captions)
    shared = 9 * (params.num_return_sequences - 1)  # the first word of a picture's samples comes from one row
    assert counting.rows["encoded"] == 9
    assert counting.rows["output"] == needed - shared


def test_hypotheses_that_part_at_a_word_share_what_they_saw() -> None:
    decoder, vocabulary = model(10, 1)
    counting = Counting(decoder)
    generate(counting, pictures(9), vocabulary, settings("beam", num_beams=5, max_new_tokens=8))
    assert counting.rows["encoded"] == 9
    assert counting.rows["glimpsed"] < 0.8 * counting.rows["output"]
