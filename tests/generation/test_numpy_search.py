"""Greedy and beam search without PyTorch find the captions that they find with it."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generation.tiny import CELLS, model, pictures
from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.generate import generate
from wordgaze.generation.numpy_search import FloatArray, NumpySearch, NumpyStepOutput
from wordgaze.models.decoder import Decoder, State
from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.vocabulary import SPECIAL, Vocabulary


class StepOfTorch:
    """A decoder of PyTorch with the memory of one image, as arrays."""

    def __init__(self, decoder: Decoder, picture: torch.Tensor) -> None:
        self.decoder, self.memory = decoder, decoder.encode(picture.unsqueeze(0))

    def init_state(self) -> tuple[FloatArray, ...]:
        return tuple(
            part.detach().numpy() for layer in self.decoder.init_state(self.memory, 1).layers for part in layer
        )

    @torch.no_grad()
    def step(self, words: npt.NDArray[np.int64], step: int, states: tuple[FloatArray, ...]) -> NumpyStepOutput:
        state = State((tuple(map(torch.from_numpy, states)),), torch.full((len(words),), float(step)))
        inputs = self.decoder.prepare_step(state, self.memory)
        output = self.decoder.step(torch.from_numpy(words), inputs, self.memory)
        following = tuple(part.numpy() for layer in output.state.layers for part in layer)
        return NumpyStepOutput(output.logits.numpy(), output.weights.numpy(), following)


def both(words: int, seed: int, config: GenerationConfig) -> list[tuple[list[Any], list[Any]]]:
    """For each of three pictures what is found without PyTorch, and with it."""
    decoder, vocabulary = model(words, seed)
    with torch.no_grad():
        expected = generate(decoder, pictures(3), vocabulary, config)
        found = [NumpySearch(StepOfTorch(decoder, each), vocabulary, config).run() for each in pictures(3)]
    pairs = []
    for of_image, numpy_captions in zip(expected, found, strict=True):
        ours = [
            (
                tuple(vocabulary.words[i] for i in each.token_ids),
                each.finish_reason,
                [*each.log_probs, each.score],
                np.array(each.weights).reshape(-1, CELLS),
            )
            for each in numpy_captions
        ]
        theirs = [
            (each.words, each.finish_reason, [*each.word_log_probs, each.score], each.weights) for each in of_image
        ]
        pairs.append((ours, theirs))
    return pairs


def check(words: int, seed: int, config: GenerationConfig) -> None:
    for ours, theirs in both(words, seed, config):
        assert [each[:2] for each in ours] == [each[:2] for each in theirs]
        for (*_, numbers, weights), (*_, expected, expected_weights) in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(numbers, expected, atol=2e-5)
            np.testing.assert_allclose(weights, expected_weights, atol=1e-5)


@pytest.mark.parametrize(("strategy", "beams"), [("greedy", 1), ("beam", 1), ("beam", 2), ("beam", 5), ("beam", 20)])
def test_the_captions_are_those_of_beam_search_with_pytorch(strategy: str, beams: int) -> None:
    for seed in range(5):
        check(9, seed, GenerationConfig(strategy=strategy, num_beams=beams, max_new_tokens=8))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 50),
    words=st.integers(2, 12),
    beams=st.integers(1, 6),
    ranks=st.integers(1, 6),
    values=st.fixed_dictionaries(
        {
            "max_new_tokens": st.integers(1, 9),
            "min_new_tokens": st.integers(0, 4),
            "length_penalty": st.sampled_from([0.0, 0.7, 1.5]),
            "length_normalisation": st.sampled_from(["power", "wu"]),
            "no_repeat_ngram_size": st.integers(0, 3),
            "bad_words": st.sampled_from([(), ("w0",), ("w1", "unknown")]),
        }
    ),
)
def test_every_setting_that_it_has_means_the_same(
    seed: int, words: int, beams: int, ranks: int, values: dict[str, Any]
) -> None:
    values["min_new_tokens"] = min(values["min_new_tokens"], values["max_new_tokens"])
    config = GenerationConfig(strategy="beam", num_beams=beams, num_return_sequences=min(beams, ranks), **values)
    check(words, seed, config)


def test_a_caption_does_not_end_on_a_function_word_if_that_is_wanted() -> None:
    decoder, _ = model(6, 3)
    vocabulary = Vocabulary((*SPECIAL, "a", "dog", "in", "the", "red", "of"))
    for beams, length in product((1, 4), (2, 5)):
        config = GenerationConfig(num_beams=beams, max_new_tokens=length, no_dangling_end=True)
        for picture in pictures(3):
            [best] = NumpySearch(StepOfTorch(decoder, picture), vocabulary, config).run()
            assert {vocabulary.words[i] for i in best.token_ids[-1:]}.isdisjoint(FUNCTION_WORDS)
            [[expected]] = generate(decoder, picture.unsqueeze(0), vocabulary, config)
            assert tuple(vocabulary.words[i] for i in best.token_ids) == expected.words


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"strategy": "sample"}, "strategy sample"),
        ({"strategy": "neighbours"}, "strategy neighbours"),
        ({"force_words": ("dog",)}, "force_words"),
        ({"name_objects": True}, "name_objects"),
    ],
)
def test_settings_that_need_pytorch_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    decoder, vocabulary = model(5, 1)
    with pytest.raises(ParamsError, match=rf"an exported captioner has no .*{named}.*; use strategy greedy or beam"):
        NumpySearch(StepOfTorch(decoder, pictures(1)[0]), vocabulary, GenerationConfig(**values))


def test_nan_is_told() -> None:
    decoder, vocabulary = model(5, 1)
    with torch.no_grad():
        decoder.lm_head.bias[4] = torch.nan
    with pytest.raises(ModelError, match="the decoder returns NaN"):
        NumpySearch(StepOfTorch(decoder, pictures(1)[0]), vocabulary, GenerationConfig()).run()
