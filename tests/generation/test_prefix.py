"""A caption with a given beginning: the best of all that begin so, by every strategy, under the same rules."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.generation.test_generate import EVERY, every_strategy
from tests.generation.tiny import beam, model, pictures, rescored, settings, token_ids, words_of
from wordgaze.core.errors import ModelError, ParamsError
from wordgaze.generation.ensemble import Ensemble
from wordgaze.generation.generate import generate
from wordgaze.text.vocabulary import END


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("prefix", [("w1",), ("w2", "w0"), ("w1", "w1", "w0")])
def test_a_wide_beam_finds_the_best_of_all_captions_that_begin_so(
    prefix: tuple[str, ...], length_penalty: float
) -> None:
    decoder, vocabulary = model(3, 1)
    features, begin = pictures(3), [vocabulary.index[word] for word in prefix]
    endings = [rest for n in range(4 - len(prefix)) for rest in product(range(4, 7), repeat=n)]
    captions = [[*begin, *rest, END] for rest in endings]
    params = beam(120, max_new_tokens=4, length_penalty=length_penalty)
    for picture, [found] in zip(features, generate(decoder, features, vocabulary, params, prefix=prefix), strict=True):
        scores = {tuple(c): rescored(decoder, picture, c) / len(c) ** length_penalty for c in captions}
        best = max(scores, key=lambda caption: scores[caption])
        assert found.words == words_of(vocabulary, best)
        assert found.score == pytest.approx(scores[best], abs=1e-4)


@pytest.mark.parametrize("strategy", ["greedy", "sample", "narrowed"])
def test_its_own_beginning_changes_nothing(strategy: str) -> None:
    decoder, vocabulary = model(10, 1)
    features, params, keys = pictures(2), EVERY[strategy](max_new_tokens=7), list("ab")
    for number, captions in enumerate(generate(decoder, features, vocabulary, params, keys=keys)):
        for n, caption in enumerate(captions):
            for length in range(len(caption.words)):  # with all of its words it may still end or go on
                again = generate(decoder, features, vocabulary, params, keys=keys, prefix=caption.words[:length])
                assert again[number][n].words == caption.words
                assert again[number][n].score == pytest.approx(caption.score, abs=1e-4)


def test_a_wide_beam_generates_what_it_would_have_generated_anyway() -> None:
    decoder, vocabulary = model(3, 2)
    features, params = pictures(5), beam(120, max_new_tokens=4)
    for number, [caption] in enumerate(generate(decoder, features, vocabulary, params)):
        for length in range(len(caption.words) + 1):
            again = generate(decoder, features, vocabulary, params, prefix=caption.words[:length])[number][0]
            assert (again.words, again.finish_reason) == (caption.words, caption.finish_reason)
            assert again.score == pytest.approx(caption.score, abs=1e-5)


@every_strategy
@pytest.mark.parametrize("prefix", [("w4",), ("w4", "w2", "w4")])
def test_the_beginning_counts_as_any_other_words(strategy: str, prefix: tuple[str, ...]) -> None:
    decoder, vocabulary = model(10, 3)
    features, params, keys = pictures(4), EVERY[strategy](max_new_tokens=6), list("abcd")
    together = generate(decoder, features, vocabulary, params, keys=keys, prefix=prefix)
    for picture, key, captions in zip(features, keys, together, strict=True):
        alone = generate(decoder, picture.unsqueeze(0), vocabulary, params, keys=[key], prefix=prefix)[0]
        assert [c.words for c in captions] == [c.words for c in alone]
        assert len(captions) == params.num_return_sequences
        for caption in captions:
            assert caption.words[: len(prefix)] == prefix
            assert len(caption.words) <= 6
            words = token_ids(caption, vocabulary)
            assert caption.log_prob == pytest.approx(rescored(decoder, picture, words), abs=1e-4)
            with torch.no_grad():
                weights = decoder(picture.unsqueeze(0), torch.tensor([[[*words, END]]])).weights[0]
            np.testing.assert_allclose(caption.weights, weights[: len(caption.words)].numpy(), atol=1e-5)


@every_strategy
def test_rules_hold_for_what_follows_and_see_what_was_generated(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    features, prefix = pictures(4), ("w1", "w2", "w1")
    rules = EVERY[strategy](
        max_new_tokens=9, min_new_tokens=5, no_repeat_ngram_size=1, bad_words=["w1"], force_words=["w2", "w7"]
    )
    for captions in generate(decoder, features, vocabulary, rules, prefix=prefix):
        for caption in captions:
            rest = caption.words[3:]
            assert len(rest) >= 2
            assert "w7" in rest
            assert not {"w1", "w2"} & set(rest)
            assert len(set(rest)) == len(rest)


def test_required_words_take_the_last_places_behind_the_beginning() -> None:
    decoder, vocabulary = model(10, 0)
    rules = beam(3, max_new_tokens=3, force_words=["w8", "w9"])
    for [caption] in generate(decoder, pictures(3), vocabulary, rules, prefix=["w1"]):
        assert caption.words[0] == "w1"
        assert set(caption.words[1:]) == {"w8", "w9"}
    with pytest.raises(
        ParamsError, match="the prefix has 2 words and 2 words of force_words must follow, but max_new_tokens is 3"
    ):
        generate(decoder, pictures(3), vocabulary, rules, prefix=["w1", "w2"])
    assert generate(decoder, pictures(1), vocabulary, rules, prefix=["w8", "w2"])[0][0].words[2] == "w9"


def test_groups_part_behind_the_beginning() -> None:
    decoder, vocabulary = model(12, 1)
    params = settings(
        "diverse", num_beams=6, num_beam_groups=3, diversity_penalty=50.0, num_return_sequences=3, max_new_tokens=6
    )
    for captions in generate(decoder, pictures(5), vocabulary, params, prefix=["w3", "w5"]):
        assert len({caption.words[2:3] for caption in captions}) == 3


@every_strategy
def test_a_beginning_as_long_as_a_caption_may_be_is_the_caption(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    params, prefix = EVERY[strategy](max_new_tokens=3), ("w1", "w5", "w1")
    for [caption] in generate(decoder, pictures(3), vocabulary, params, prefix=prefix):
        assert (caption.words, caption.finish_reason) == (prefix, "length")
        assert caption.log_prob == pytest.approx(sum(caption.word_log_probs))
        np.testing.assert_allclose(caption.weights.sum(1), 1, atol=1e-5)
    with pytest.raises(ParamsError, match="the prefix has 4 words, but max_new_tokens is 3; increase max_new_tokens"):
        generate(decoder, pictures(3), vocabulary, params, prefix=[*prefix, "w1"])


def test_an_ensemble_has_a_beginning_too() -> None:
    (one, vocabulary), (two, _) = model(3, 1), model(3, 2)
    features, both, prefix = pictures(3), Ensemble([one, two]), ("w2", "w0")
    params = beam(60, max_new_tokens=4, length_penalty=0.0)
    free = generate(
        both, [features] * 2, vocabulary, beam(200, max_new_tokens=4, length_penalty=0.0, num_return_sequences=40)
    )
    for [caption], captions in zip(
        generate(both, [features] * 2, vocabulary, params, prefix=prefix), free, strict=True
    ):
        best = next(c for c in captions if c.words[:2] == prefix)
        assert caption.words == best.words
        assert caption.score == pytest.approx(best.score, abs=1e-4)


@pytest.mark.parametrize("word", ["zebra", "<end>", "<unk>"])
def test_a_word_that_cannot_be_generated_is_named(word: str) -> None:
    decoder, vocabulary = model(3, 0)
    with pytest.raises(ModelError, match=f"the captioner does not know '{word}'; use words of its vocabulary"):
        generate(decoder, pictures(1), vocabulary, beam(2), prefix=["w1", word])
