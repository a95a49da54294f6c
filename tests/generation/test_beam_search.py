"""Greedy is the plain argmax, a wide beam finds the best caption of all, groups differ, banks say what is required."""

from itertools import product

import pytest

from tests.generation.tiny import argmax_loop, beam, model, pictures, rescored, settings, words_of
from wordgaze.generation.generate import generate
from wordgaze.text.vocabulary import END


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_a_beam_of_one_is_the_plain_argmax(seed: int, length_penalty: float) -> None:
    decoder, vocabulary = model(8, seed)
    features = pictures(6)
    expected = [words_of(vocabulary, argmax_loop(decoder, picture, 10)) for picture in features]
    one = beam(1, max_new_tokens=10, length_penalty=length_penalty)
    for params in (one, settings("greedy", max_new_tokens=10, length_penalty=length_penalty)):
        assert [found[0].words for found in generate(decoder, features, vocabulary, params)] == expected


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_is_wide_enough_finds_the_best_caption_of_all(seed: int, length_penalty: float) -> None:
    decoder, vocabulary = model(3, seed)
    features = pictures(3)
    captions = [[*generated, END] for n in range(3) for generated in product(range(4, 7), repeat=n)]
    every = [{tuple(c): rescored(decoder, x, c) / len(c) ** length_penalty for c in captions} for x in features]
    for num in (1, 2, 5):
        params = beam(120, max_new_tokens=3, length_penalty=length_penalty, num_return_sequences=num)
        for scores, best in zip(every, generate(decoder, features, vocabulary, params), strict=True):
            expected = sorted(scores, key=lambda caption: -scores[caption])[:num]
            assert [caption.words for caption in best] == [words_of(vocabulary, c) for c in expected]
            assert [caption.score for caption in best] == pytest.approx([scores[c] for c in expected], abs=1e-4)


def test_one_word_at_most() -> None:
    decoder, vocabulary = model(10, 0)
    for captions in generate(decoder, pictures(3), vocabulary, beam(4, max_new_tokens=1, num_return_sequences=4)):
        assert len(captions) == 4
        assert all(len(caption.words) <= 1 for caption in captions)


def test_a_beam_wider_than_the_vocabulary_gives_what_there_is() -> None:
    decoder, vocabulary = model(1, 0)
    for captions in generate(decoder, pictures(2), vocabulary, beam(50, max_new_tokens=2, num_return_sequences=50)):
        assert {caption.words for caption in captions} == {(), ("w0",), ("w0", "w0")}


@pytest.mark.parametrize("seed", range(4))
def test_several_captions_are_distinct_and_best_first(seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    for captions in generate(decoder, pictures(5), vocabulary, beam(4, max_new_tokens=6, num_return_sequences=3)):
        assert len({caption.words for caption in captions}) == 3
        assert [c.score for c in captions] == sorted((c.score for c in captions), reverse=True)


@pytest.mark.parametrize(("normalisation", "norm"), [("power", 4**0.9), ("wu", ((5 + 4) / 6) ** 0.9)])
def test_a_score_is_the_log_prob_over_the_length_as_the_parameters_say(normalisation: str, norm: float) -> None:
    decoder, vocabulary = model(10, 1)
    params = beam(4, max_new_tokens=6, num_return_sequences=4, length_penalty=0.9, length_normalisation=normalisation)
    found = [c for of_one in generate(decoder, pictures(8), vocabulary, params) for c in of_one]
    three_words = [c for c in found if len(c.words) == 3 and c.finish_reason == "end"]
    assert three_words
    for caption in three_words:
        assert caption.score == pytest.approx(caption.log_prob / norm, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_group_is_a_beam_of_its_own_and_the_others_avoid_its_words(seed: int) -> None:
    decoder, vocabulary = model(12, seed)
    features = pictures(6)
    plain = generate(decoder, features, vocabulary, beam(2, max_new_tokens=6))
    alike, apart = (
        generate(
            decoder,
            features,
            vocabulary,
            settings(
                "diverse", num_beams=6, num_beam_groups=3, diversity_penalty=d, num_return_sequences=3, max_new_tokens=6
            ),
        )
        for d in (0.0, 50.0)
    )
    for [best], same, different in zip(plain, alike, apart, strict=True):
        assert {caption.words for caption in same} == {best.words}  # without a penalty all groups are one beam
        assert best.words in {caption.words for caption in different}
        firsts = [caption.words[:1] for caption in different]
        assert len(set(firsts)) == 3  # no group starts as another does


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_required_words_are_generated_in_the_best_caption_that_has_them(seed: int, length_penalty: float) -> None:
    decoder, vocabulary = model(3, seed)
    features = pictures(3)
    every = [[*generated, END] for n in range(3) for generated in product(range(4, 7), repeat=n)]
    one, two = vocabulary.index["w0"], vocabulary.index["w2"]
    for required, fits in (
        (["w0"], lambda c: one in c),
        (["w0|w2"], lambda c: one in c or two in c),
        (["w0", "w2"], lambda c: one in c and two in c),
    ):
        params = beam(60, max_new_tokens=3, length_penalty=length_penalty, force_words=required)
        for picture, [caption] in zip(features, generate(decoder, features, vocabulary, params), strict=True):
            scores = {tuple(c): rescored(decoder, picture, c) / len(c) ** length_penalty for c in every if fits(c)}
            best = max(scores, key=lambda c: scores[c])
            assert caption.words == words_of(vocabulary, best)
            assert caption.score == pytest.approx(scores[best], abs=1e-4)


def test_a_narrow_beam_too_generates_what_is_required() -> None:
    decoder, vocabulary = model(30, 3)
    for captions in generate(decoder, pictures(6), vocabulary, beam(2, max_new_tokens=8, force_words=["w29", "w7"])):
        assert {"w29", "w7"} <= set(captions[0].words)
