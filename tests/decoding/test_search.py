"""Search: greedy is the plain argmax, a wide beam finds the best caption of all, and numbers are what they claim."""

from itertools import chain, product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from wordgaze.decoding.search import search
from wordgaze.errors import ModelError
from wordgaze.model.decoder import Decoder
from wordgaze.params import DecodeParams, ModelParams
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary

CHANNELS, CELLS = 5, 4


def model(words: int, seed: int) -> tuple[Decoder, Vocabulary]:
    """A random decoder, far from uniform, over ``words`` words besides the special tokens."""
    vocabulary = Vocabulary(SPECIAL + tuple(f"w{i}" for i in range(words)))
    torch.manual_seed(seed)
    sizes = ModelParams(
        embedding_size=6,
        hidden_size=8,
        attention_size=6,
        feature_size=0,
        dropout_embedding=0.5,
        dropout_features=0.5,
        dropout_output=0.5,
    )
    decoder = Decoder(sizes, CHANNELS, len(vocabulary)).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    with torch.no_grad():
        decoder.classify.bias[END] += 1.0  # captions of all lengths
    return decoder, vocabulary


def with_bias(decoder: Decoder, word: int, value: float) -> Decoder:
    with torch.no_grad():
        decoder.classify.bias[word] = value
    return decoder


def pictures(count: int) -> Tensor:
    return torch.randn(count, CELLS, CHANNELS, generator=torch.Generator().manual_seed(7))


def beam(width: int, **values: object) -> DecodeParams:
    return DecodeParams.model_validate({"strategy": "beam", "beam_width": width, **values})


def greedy(**values: object) -> DecodeParams:
    return DecodeParams.model_validate({"strategy": "greedy", **values})


@torch.no_grad()
def argmax_loop(decoder: Decoder, picture: Tensor, max_length: int) -> list[int]:
    memory = decoder.look(picture.unsqueeze(0))
    state, word, words = decoder.start(memory, 1), START, []
    for _ in range(max_length):
        logits, state, _ = decoder.step(torch.tensor([word]), state, memory)
        logits[:, [PAD, START, UNK]] = -torch.inf
        word = int(logits.argmax())
        if word == END:
            break
        words.append(word)
    return words


@torch.no_grad()
def rescored(decoder: Decoder, picture: Tensor, words: list[int]) -> float:
    """The log probability of these indices by teacher forcing."""
    taught = decoder.teach(picture.unsqueeze(0), torch.tensor([[words]]))
    return -float(cross_entropy(taught.logits, taught.targets, reduction="sum"))


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_a_beam_of_one_is_the_plain_argmax(seed: int, length_penalty: float) -> None:
    decoder, vocabulary = model(8, seed)
    features = pictures(6)
    expected = [tuple(vocabulary.decode(argmax_loop(decoder, picture, 10))) for picture in features]
    one = beam(1, max_length=10, length_penalty=length_penalty)
    for params in (one, greedy(max_length=10, length_penalty=length_penalty)):
        assert [found[0].words for found in search(decoder, features, vocabulary, params)] == expected


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_is_wide_enough_finds_the_best_caption_of_all(seed: int, length_penalty: float) -> None:
    decoder, vocabulary = model(3, seed)
    features = pictures(3)
    captions = [[*said, END] for n in range(3) for said in product(range(4, 7), repeat=n)]
    every = [{tuple(c): rescored(decoder, x, c) / len(c) ** length_penalty for c in captions} for x in features]
    for num in (1, 2, 5):
        params = beam(120, max_length=3, length_penalty=length_penalty, num=num)
        for scores, best in zip(every, search(decoder, features, vocabulary, params), strict=True):
            expected = sorted(scores, key=lambda caption: -scores[caption])[:num]
            assert [caption.words for caption in best] == [tuple(vocabulary.decode(c)) for c in expected]
            assert [caption.score for caption in best] == pytest.approx([scores[c] for c in expected], abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("params", [greedy(max_length=7), beam(4, max_length=7, num=2)], ids=["greedy", "beam"])
def test_a_caption_does_not_depend_on_the_pictures_beside_it(params: DecodeParams, seed: int) -> None:
    decoder, vocabulary = model(12, seed)
    features = pictures(7)
    together = search(decoder, features, vocabulary, params)
    backwards = search(decoder, features.flip(0), vocabulary, params)[::-1]
    alone = [search(decoder, picture.unsqueeze(0), vocabulary, params)[0] for picture in features]
    for other in (backwards, alone):
        assert [[c.words for c in of_one] for of_one in other] == [[c.words for c in of_one] for of_one in together]
        for mine, theirs in zip(chain(*other), chain(*together), strict=True):
            assert mine.score == pytest.approx(theirs.score, abs=1e-5)
            np.testing.assert_allclose(mine.weights, theirs.weights, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_log_prob_is_what_teacher_forcing_gives(seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    features = pictures(5)
    found = search(decoder, features, vocabulary, beam(5, max_length=6, num=3))
    for picture, captions in zip(features, found, strict=True):
        for caption in captions:
            said = [vocabulary.index[word] for word in caption.words]
            whole = [*said, END] if caption.ended == "end" else said
            assert caption.log_prob == pytest.approx(rescored(decoder, picture, whole), abs=1e-4)
            assert caption.score == pytest.approx(caption.log_prob / len(whole) ** 0.7, abs=1e-4)
            assert len(caption.word_log_probs) == len(caption.words)
            if caption.ended == "length":
                assert sum(caption.word_log_probs) == pytest.approx(caption.log_prob)


@pytest.mark.parametrize("seed", range(4))
def test_several_captions_are_distinct_best_first_and_hold_real_words_only(seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    for special in (PAD, START, UNK):
        with_bias(decoder, special, 50.0)
    for captions in search(decoder, pictures(5), vocabulary, beam(4, max_length=6, num=3)):
        assert len({caption.words for caption in captions}) == 3
        assert [c.score for c in captions] == sorted((c.score for c in captions), reverse=True)
        assert not {word for caption in captions for word in caption.words} & set(SPECIAL)


def test_every_word_has_its_weights_over_the_cells() -> None:
    decoder, vocabulary = model(10, 0)
    captions = list(chain(*search(decoder, pictures(5), vocabulary, beam(3, max_length=6, num=3))))
    assert len({len(caption.words) for caption in captions}) > 3
    for caption in captions:
        assert caption.weights.shape == (len(caption.words), CELLS)
        assert caption.weights.dtype == np.float32
        np.testing.assert_allclose(caption.weights.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_are_those_of_the_words_own_steps(seed: int) -> None:
    decoder, vocabulary = model(10, seed)
    features = pictures(4)
    found = search(decoder, features, vocabulary, beam(4, max_length=6, num=4))
    for picture, captions in zip(features, found, strict=True):
        for caption in captions:
            said = [vocabulary.index[word] for word in caption.words]
            with torch.no_grad():
                weights = decoder.teach(picture.unsqueeze(0), torch.tensor([[[*said, END]]])).weights[0, : len(said)]
            np.testing.assert_allclose(caption.weights, weights.numpy(), atol=1e-5)


@pytest.mark.parametrize("params", [greedy(max_length=5), beam(3, max_length=5, num=3)], ids=["greedy", "beam"])
def test_a_decoder_that_never_ends_stops_at_the_maximum_length(params: DecodeParams) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, END, -1e4)
    for captions in search(decoder, pictures(3), vocabulary, params):
        assert len(captions) == params.num
        assert {(len(caption.words), caption.ended) for caption in captions} == {(5, "length")}


@pytest.mark.parametrize("params", [greedy(max_length=5), beam(3, max_length=5)], ids=["greedy", "beam"])
def test_a_decoder_that_ends_at_once_gives_an_empty_caption(params: DecodeParams) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, END, 1e3)
    for [caption] in search(decoder, pictures(3), vocabulary, params):
        assert (caption.words, caption.text, caption.ended, caption.word_log_probs) == ((), "", "end", ())
        assert caption.weights.shape == (0, CELLS)
        assert caption.log_prob == pytest.approx(0, abs=1e-6)


def test_one_word_at_most() -> None:
    decoder, vocabulary = model(10, 0)
    for captions in search(decoder, pictures(3), vocabulary, beam(4, max_length=1, num=4)):
        assert len(captions) == 4
        assert all(len(caption.words) <= 1 for caption in captions)


def test_a_beam_wider_than_the_vocabulary_gives_what_there_is() -> None:
    decoder, vocabulary = model(1, 0)
    for captions in search(decoder, pictures(2), vocabulary, beam(50, max_length=2, num=50)):
        assert {caption.words for caption in captions} == {(), ("w0",), ("w0", "w0")}


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_nan_is_an_error_and_no_caption(strategy: str) -> None:
    decoder, vocabulary = model(10, 0)
    with_bias(decoder, 5, float("nan"))
    with pytest.raises(ModelError, match="the decoder gives NaN"):
        search(decoder, pictures(2), vocabulary, DecodeParams(strategy=strategy))
