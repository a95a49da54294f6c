"""The decoder: teacher forcing, sorted and batched, gives what one word after the other gives, in every variant."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models.variants import CELLS, HIDDEN, VARIANTS, decoder_of, padded, pictures
from wordgaze.generation.outputs import take
from wordgaze.models.attention import RowIndex
from wordgaze.models.decoder import FARTHEST, Decoder, StepOutput
from wordgaze.text.vocabulary import END, START

# Two pictures with captions of different lengths; the second has one caption fewer, and its longest is not the first.
CAPTIONS = [[[4, 5, 6, END], [7, END], [8, 4, END]], [[5, END], [6, 7, 8, 4, 5, END]]]

every_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


def word_by_word(decoder: Decoder, picture: Tensor, words: list[int]) -> tuple[Tensor, Tensor]:
    """Logits (T, V) and weights (T, L) of one caption of one picture, a step at a time."""
    memory = decoder.encode(picture.unsqueeze(0))
    state = decoder.init_state(memory, 1)
    logits, weights = [], []
    for last in [START, *words[:-1]]:
        said = decoder.step(torch.tensor([last]), decoder.prepare_step(state, memory), memory)
        state = said.state
        logits.append(said.logits[0])
        weights.append(said.weights[0])
    return torch.stack(logits), torch.stack(weights)


def in_order(captions: list[list[list[int]]]) -> list[tuple[int, int, list[int]]]:
    """(t, picture, caption) of every real word in the order of teaching: a picture's longest captions come first."""
    ranked = [sorted(of_one, key=len, reverse=True) for of_one in captions]
    longest = max(len(words) for of_one in captions for words in of_one)
    every = [(t, b, words) for t in range(longest) for b, of_one in enumerate(ranked) for words in of_one]
    return [(t, b, words) for t, b, words in every if t < len(words)]


@every_variant
def test_teaching_equals_a_plain_loop_over_every_caption(values: dict[str, Any]) -> None:
    decoder, features = decoder_of(**values), pictures()
    taught = decoder(features, padded(CAPTIONS))
    assert len(taught.targets) == len(taught.logits) == sum(len(words) for of_one in CAPTIONS for words in of_one)
    expected = [word_by_word(decoder, features[b], words)[0][t] for t, b, words in in_order(CAPTIONS)]
    torch.testing.assert_close(taught.logits, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert taught.targets.tolist() == [words[t] for t, _, words in in_order(CAPTIONS)]
    for row, (b, words) in {0: (0, CAPTIONS[0][0]), 1: (0, CAPTIONS[0][2]), 3: (1, CAPTIONS[1][1])}.items():
        looked = word_by_word(decoder, features[b], words)[1]
        torch.testing.assert_close(taught.weights[row, : len(words)], looked, atol=1e-5, rtol=1e-4)
        assert [int(w) for w in taught.targets[taught.place // 6 == row]] == words


@every_variant
def test_weights_are_shares_of_one_and_zero_after_the_end(values: dict[str, Any]) -> None:
    taught = decoder_of(**values)(pictures(), padded(CAPTIONS))
    assert taught.weights.shape == (6, 6, CELLS)
    whole = not values.get("sentinel") and values.get("span") != "local_p"
    for row, length in enumerate([4, 3, 2, 6, 2, 0]):
        total = taught.weights[row, :length].sum(1)
        if whole:
            torch.testing.assert_close(total, torch.ones(length))
        else:
            assert ((total > 0) & (total < 1)).all()
        assert not taught.weights[row, length:].any()


@pytest.mark.parametrize(("ranks", "length"), [(3, 9), (5, 6), (4, 7)])
def test_more_padding_changes_nothing(ranks: int, length: int) -> None:
    decoder, features = decoder_of(), pictures()
    plain, more = decoder(features, padded(CAPTIONS)), decoder(features, padded(CAPTIONS, ranks, length))
    torch.testing.assert_close(more.logits, plain.logits)
    assert torch.equal(more.targets, plain.targets)
    kept = more.weights.view(2, ranks, -1, CELLS)
    torch.testing.assert_close(kept[:, :3].flatten(0, 1), plain.weights)
    assert not kept[:, 3:].any()


@every_variant
def test_a_picture_is_taught_the_same_alone_and_in_company(values: dict[str, Any]) -> None:
    decoder, features = decoder_of(**values), pictures()
    together = decoder(features, padded(CAPTIONS))
    of_picture = torch.tensor([b for _, b, _ in in_order(CAPTIONS)])
    for b in range(2):
        alone = decoder(features[b : b + 1], padded(CAPTIONS[b : b + 1]))
        torch.testing.assert_close(together.logits[of_picture == b], alone.logits, atol=1e-5, rtol=1e-4)
        assert torch.equal(together.targets[of_picture == b], alone.targets)


@every_variant
def test_a_word_does_not_depend_on_the_words_behind_it(values: dict[str, Any]) -> None:
    decoder, features = decoder_of(**values), pictures(1)
    first = decoder(features, torch.tensor([[[4, 5, 6, END]]])).logits
    second = decoder(features, torch.tensor([[[4, 5, 8, END]]])).logits
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3])


def after_two_words(decoder: Decoder, captions: int) -> tuple[Any, Any, Tensor]:
    """memory, a state that differs from row to row, and the next words to say, for three pictures."""
    memory = decoder.encode(pictures(3))
    state = decoder.init_state(memory, captions)
    words = torch.arange(3 * captions) % 5 + 4
    state = decoder.step(words, decoder.prepare_step(state, memory), memory).state
    return memory, state, (words + 1) % 5 + 4


def said(decoder: Decoder, memory: Any, state: Any, words: Tensor, rows: RowIndex | None = None) -> StepOutput:
    return decoder.step(words, decoder.prepare_step(state, memory, rows), memory, rows)


@every_variant
def test_the_steps_of_several_captions_share_their_pictures_memory(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 2)
    apart = decoder.encode(pictures(3).repeat_interleave(2, dim=0))
    torch.testing.assert_close(said(decoder, memory, state, words), said(decoder, apart, state, words))


@every_variant
def test_pictures_may_be_asked_by_unequal_numbers_of_rows(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 3)
    chosen = torch.tensor([0, 1, 4, 6, 7, 8])  # two of the first picture, one of the second, three of the third
    some = said(decoder, memory, take(state, chosen), words[chosen], RowIndex(chosen, 3))
    every = said(decoder, memory, state, words)
    torch.testing.assert_close(some, take(every, chosen), atol=1e-5, rtol=1e-4)


@every_variant
def test_a_table_of_the_words_says_the_same(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 1)
    step_inputs = decoder.prepare_step(state, memory)
    torch.testing.assert_close(
        decoder.step(words, step_inputs, memory, None, decoder.word_table()), decoder.step(words, step_inputs, memory)
    )


@every_variant
def test_every_parameter_learns(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values).train()
    taught = decoder(pictures(), padded(CAPTIONS))
    (nn.functional.cross_entropy(taught.logits, taught.targets) + taught.drawn.sum()).backward()
    still = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("dropout", ["dropout_channels", "dropout_embedding", "dropout_features", "dropout_output"])
def test_dropout_acts_in_training_only(dropout: str) -> None:
    decoder, features = decoder_of(**{dropout: 0.5}), pictures()
    for training in (False, True):
        decoder.train(training)
        one, two = (decoder(features, padded(CAPTIONS)).logits for _ in range(2))
        assert torch.equal(one, two) is not training


def test_standardised_channels_have_mean_0_and_deviation_1_and_none_shows_too_much() -> None:
    decoder, plain = decoder_of(standardise=True), decoder_of()
    training = 7 + 3 * pictures(50)
    decoder.standardise(training)
    own = (training - training.mean((0, 1))) / training.std((0, 1))
    torch.testing.assert_close(decoder.encode(training).features, plain.encode(own).features, rtol=1e-3, atol=1e-3)
    far = decoder.encode(training + 1e6)
    torch.testing.assert_close(far.features, plain.encode(torch.full_like(training, FARTHEST)).features)


def test_a_channel_is_left_out_in_all_cells_of_a_picture() -> None:
    decoder = decoder_of(feature_size=0, dropout_channels=0.5).train()
    seen = decoder.encode(pictures(20)).features
    silent = (seen == 0).all(1)
    assert torch.equal(silent, (seen == 0).any(1)) and 0 < silent.sum() < silent.numel()
    torch.testing.assert_close(seen, 2 * pictures(20) * ~silent.unsqueeze(1))


def test_vectors_of_another_width_are_widened() -> None:
    decoder = decoder_of(vector_size=3)
    assert decoder.embed.weight.shape[1] == 3
    expected = word_by_word(decoder, pictures()[0], CAPTIONS[0][0])[0]
    torch.testing.assert_close(decoder(pictures()[:1], padded([[CAPTIONS[0][0]]], 1)).logits, expected)


@pytest.mark.parametrize(("cell", "library"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_a_layer_is_the_librarys_cell(cell: str, library: type[nn.LSTMCell] | type[nn.GRUCell]) -> None:
    decoder = decoder_of(cell=cell, output="plain", gate=False)
    layer = decoder.layers[0]
    theirs = library(HIDDEN, HIDDEN)
    # The library's order of gates: into, forget, new, out; reset, update, new.
    order = [0, 1, 3, 2] if cell == "lstm" else [0, 1, 2]
    with torch.no_grad():
        mine = layer.recurrent.weight.view(-1, HIDDEN, HIDDEN)[order].flatten(0, 1)
        theirs.weight_hh.copy_(mine)
        theirs.weight_ih.copy_(torch.eye(HIDDEN).repeat(len(order), 1))
        theirs.bias_ih.zero_()
        theirs.bias_hh.zero_()
        inputs, state = torch.randn(4, HIDDEN), tuple(torch.randn(4, HIDDEN) for _ in range(len(order) - 2))
        state = state if cell == "lstm" else (torch.randn(4, HIDDEN),)
        hidden, after, _ = layer(inputs.repeat(1, len(order)), layer.recurrent(state[0]), state)
        expected = theirs(inputs, state if cell == "lstm" else state[0])
    torch.testing.assert_close(after if cell == "lstm" else hidden, expected)


def one_step(decoder: Decoder) -> tuple[dict[str, Tensor], StepOutput, Tensor, Tensor]:
    """The parameters, the second word that is said of one picture, its features as projected, and h, m before it."""
    features = pictures()[:1]
    memory = decoder.encode(features)
    state = decoder.step(
        torch.tensor([START]), decoder.prepare_step(decoder.init_state(memory, 1), memory), memory
    ).state
    after = decoder.step(torch.tensor([4]), decoder.prepare_step(state, memory), memory)
    return (
        dict(decoder.named_parameters()),
        after,
        memory.features[0],
        torch.stack([s[0] for s in sum(state.layers, ())]),
    )


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    into, forget, out, new = gates.chunk(4)
    after = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
    return out.sigmoid() * after.tanh(), after


@torch.no_grad()
def test_adaptive_attention_is_the_papers() -> None:
    """Lu et al. 2017, equations 4 to 13, with x_t = [word; mean of the features]."""
    decoder = decoder_of(attention_position="last", sentinel=True, gate=False, output="plain")
    p, found, cells, (h, m) = one_step(decoder)
    x = p["word_gates.weight"] @ p["embed.weight"][4] + p["word_gates.bias"] + p["mean_gates.weight"] @ cells.mean(0)
    gates = x + p["layers.0.recurrent.weight"] @ h
    h, m = lstm(gates[: 4 * HIDDEN], m)
    s = gates[4 * HIDDEN :].sigmoid() * m.tanh()
    asked, v = p["attend.score.query.weight"] @ h, p["attend.score.energy.weight"][0]
    z = (cells @ p["attend.score.key.weight"].T + p["attend.score.key.bias"] + asked).tanh() @ v
    own = (p["attend.sentinel_key.weight"] @ s + p["attend.sentinel_key.bias"] + asked).tanh() @ v
    alpha = torch.cat([z, own.unsqueeze(0)]).softmax(0)
    beta = alpha[-1]
    alone = z.softmax(0)  # equation 7; ĉ = β s + (1 − β) c, equation 11
    c = beta * s + (1 - beta) * (alone @ cells)
    torch.testing.assert_close(found.weights[0], alpha[:-1])
    torch.testing.assert_close(found.logits[0], p["classes"] @ (c + h) + p["biases"])


@torch.no_grad()
def test_the_top_down_decoder_is_the_papers() -> None:
    """Anderson et al. 2018, equations 1 to 6."""
    decoder = decoder_of(attention_position="between", num_layers=2, gate=False, output="plain")
    p, found, cells, (h1, m1, h2, m2) = one_step(decoder)
    gates = p["word_gates.weight"] @ p["embed.weight"][4] + p["word_gates.bias"]
    gates = gates + p["mean_gates.weight"] @ cells.mean(0) + p["top_gates.weight"] @ h2
    h1, _ = lstm(gates + p["layers.0.recurrent.weight"] @ h1, m1)
    keys = cells @ p["attend.score.key.weight"].T + p["attend.score.key.bias"]
    a = (keys + p["attend.score.query.weight"] @ h1).tanh() @ p["attend.score.energy.weight"][0]
    alpha = a.softmax(0)
    gates = p["layers.1.below.weight"] @ h1 + p["layers.1.below.bias"] + p["context_gates.weight"] @ (alpha @ cells)
    h2, _ = lstm(gates + p["layers.1.recurrent.weight"] @ h2, m2)
    torch.testing.assert_close(found.weights[0], alpha)
    torch.testing.assert_close(found.logits[0], p["classes"] @ h2 + p["biases"])


@torch.no_grad()
def test_show_attend_and_tell_is_the_papers() -> None:
    """Xu et al. 2015, equations 1 to 9 and 13, with the gating scalar of section 4.2.1."""
    p, found, cells, (h, m) = one_step(decoder_of())
    keys = cells @ p["attend.score.key.weight"].T + p["attend.score.key.bias"]
    alpha = ((keys + p["attend.score.query.weight"] @ h).tanh() @ p["attend.score.energy.weight"][0]).softmax(0)
    z = (p["gate.weight"][0] @ h + p["gate.bias"][0]).sigmoid() * (alpha @ cells)
    word = p["embed.weight"][4]
    gates = p["word_gates.weight"] @ word + p["word_gates.bias"] + p["context_gates.weight"] @ z
    h, _ = lstm(gates + p["layers.0.recurrent.weight"] @ h, m)
    mixed = word + p["hidden_out.weight"] @ h + p["hidden_out.bias"] + p["context_out.weight"] @ z
    torch.testing.assert_close(found.weights[0], alpha)
    torch.testing.assert_close(found.logits[0], p["classes"] @ mixed.tanh() + p["biases"])
