"""The decoder: teacher forcing, sorted and batched, gives what one word after the other gives."""

import pytest
import torch
from torch import Tensor

from wordgaze.model.attention import Rows
from wordgaze.model.decoder import Decoder, State
from wordgaze.params import ModelParams
from wordgaze.text.vocabulary import END, PAD, START

CHANNELS, CELLS, VOCABULARY = 6, 4, 9
# Two pictures with captions of different lengths; the second has one caption fewer, and its longest is not the first.
CAPTIONS = [[[4, 5, 6, END], [7, END], [8, 4, END]], [[5, END], [6, 7, 8, 4, 5, END]]]


def tiny(feature_size: int = 5, dropout: float = 0.0) -> Decoder:
    torch.manual_seed(1)
    sizes = ModelParams(
        embedding_size=5,
        hidden_size=7,
        attention_size=6,
        feature_size=feature_size,
        dropout_embedding=dropout,
        dropout_features=dropout,
        dropout_output=dropout,
    )
    decoder = Decoder(sizes, CHANNELS, VOCABULARY).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return decoder


def pictures(count: int = 2) -> Tensor:
    return torch.randn(count, CELLS, CHANNELS, generator=torch.Generator().manual_seed(2))


def padded(captions: list[list[list[int]]], ranks: int = 3, length: int = 6) -> Tensor:
    tensor = torch.full((len(captions), ranks, length), PAD)
    for b, of_one in enumerate(captions):
        for r, words in enumerate(of_one):
            tensor[b, r, : len(words)] = torch.tensor(words)
    return tensor


def word_by_word(decoder: Decoder, picture: Tensor, words: list[int]) -> tuple[Tensor, Tensor]:
    """Logits (T, V) and weights (T, L) of one caption of one picture, a step at a time."""
    memory = decoder.look(picture.unsqueeze(0))
    state = decoder.start(memory, 1)
    logits, weights = [], []
    for said in [START, *words[:-1]]:
        glimpse = decoder.glimpse(state, memory)
        now, state = decoder.say(torch.tensor([said]), glimpse)
        logits.append(now[0])
        weights.append(glimpse.weights[0])
    return torch.stack(logits), torch.stack(weights)


def in_order(captions: list[list[list[int]]]) -> list[tuple[int, int, list[int]]]:
    """(t, picture, caption) of every real word in the order of teaching: a picture's longest captions come first."""
    ranked = [sorted(of_one, key=len, reverse=True) for of_one in captions]
    longest = max(len(words) for of_one in captions for words in of_one)
    every = [(t, b, words) for t in range(longest) for b, of_one in enumerate(ranked) for words in of_one]
    return [(t, b, words) for t, b, words in every if t < len(words)]


@pytest.mark.parametrize("feature_size", [0, 5])
def test_teaching_equals_a_plain_loop_over_every_caption(feature_size: int) -> None:
    decoder, features = tiny(feature_size), pictures()
    taught = decoder.teach(features, padded(CAPTIONS))
    assert len(taught.targets) == len(taught.logits) == sum(len(words) for of_one in CAPTIONS for words in of_one)
    expected = [word_by_word(decoder, features[b], words)[0][t] for t, b, words in in_order(CAPTIONS)]
    torch.testing.assert_close(taught.logits, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert taught.targets.tolist() == [words[t] for t, _, words in in_order(CAPTIONS)]
    for row, (b, words) in {0: (0, CAPTIONS[0][0]), 1: (0, CAPTIONS[0][2]), 3: (1, CAPTIONS[1][1])}.items():
        looked = word_by_word(decoder, features[b], words)[1]
        torch.testing.assert_close(taught.weights[row, : len(words)], looked, atol=1e-5, rtol=1e-4)


def test_weights_sum_to_one_at_a_word_and_are_zero_after_the_end() -> None:
    taught = tiny().teach(pictures(), padded(CAPTIONS))
    assert taught.weights.shape == (6, 6, CELLS)
    for row, length in enumerate([4, 3, 2, 6, 2, 0]):
        torch.testing.assert_close(taught.weights[row, :length].sum(1), torch.ones(length))
        assert not taught.weights[row, length:].any()


@pytest.mark.parametrize(("ranks", "length"), [(3, 9), (5, 6), (4, 7)])
def test_more_padding_changes_nothing(ranks: int, length: int) -> None:
    decoder, features = tiny(), pictures()
    plain, more = decoder.teach(features, padded(CAPTIONS)), decoder.teach(features, padded(CAPTIONS, ranks, length))
    torch.testing.assert_close(more.logits, plain.logits)
    assert torch.equal(more.targets, plain.targets)
    kept = more.weights.view(2, ranks, -1, CELLS)
    torch.testing.assert_close(kept[:, :3].flatten(0, 1), plain.weights)
    assert not kept[:, 3:].any()


def test_a_picture_is_taught_the_same_alone_and_in_company() -> None:
    decoder, features = tiny(), pictures()
    together = decoder.teach(features, padded(CAPTIONS))
    of_picture = torch.tensor([b for _, b, _ in in_order(CAPTIONS)])
    for b in range(2):
        alone = decoder.teach(features[b : b + 1], padded(CAPTIONS[b : b + 1]))
        torch.testing.assert_close(together.logits[of_picture == b], alone.logits)
        assert torch.equal(together.targets[of_picture == b], alone.targets)


def test_a_word_does_not_depend_on_the_words_behind_it() -> None:
    decoder, features = tiny(), pictures(1)
    first = decoder.teach(features, torch.tensor([[[4, 5, 6, END]]])).logits
    second = decoder.teach(features, torch.tensor([[[4, 5, 8, END]]])).logits
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3])


def test_the_steps_of_several_captions_share_their_pictures_memory() -> None:
    decoder, features = tiny(), pictures()
    memory = decoder.look(features)
    glimpse = decoder.glimpse(decoder.start(memory, 2), memory)
    apart_memory = decoder.look(features.repeat_interleave(2, dim=0))
    apart = decoder.glimpse(decoder.start(apart_memory, 1), apart_memory)
    torch.testing.assert_close(tuple(glimpse), tuple(apart))


def test_pictures_may_be_asked_by_unequal_numbers_of_rows() -> None:
    decoder, features = tiny(), pictures(3)
    memory = decoder.look(features)
    every = decoder.start(memory, 3)
    every = State(*(part + torch.arange(9.0).unsqueeze(1) for part in every))  # no two rows alike
    chosen = torch.tensor([0, 1, 4, 6, 7, 8])  # two of the first picture, one of the second, three of the third
    some = decoder.glimpse(State(*(part[chosen] for part in every)), memory, Rows(chosen, 3))
    torch.testing.assert_close(tuple(some), tuple(part[chosen] for part in decoder.glimpse(every, memory)))


def test_a_lexicon_says_the_same() -> None:
    decoder, features = tiny(), pictures()
    memory = decoder.look(features)
    glimpse = decoder.glimpse(decoder.start(memory, 1), memory)
    words = torch.tensor([4, 7])
    torch.testing.assert_close(decoder.say(words, glimpse, decoder.table()), decoder.say(words, glimpse))


def test_every_parameter_learns() -> None:
    decoder = tiny().train()
    taught = decoder.teach(pictures(), padded(CAPTIONS))
    torch.nn.functional.cross_entropy(taught.logits, taught.targets).backward()
    still = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_dropout_acts_in_training_only() -> None:
    decoder, features = tiny(dropout=0.5), pictures()
    for training in (False, True):
        decoder.train(training)
        one, two = (decoder.teach(features, padded(CAPTIONS)).logits for _ in range(2))
        assert torch.equal(one, two) is not training
