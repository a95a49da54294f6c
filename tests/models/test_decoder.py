"""The decoder: teacher forcing gives what single steps give, in every variant, and the formulas of the papers."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.models.variants import CELLS, HIDDEN, VARIANTS, decoder_of, padded, pictures
from wordgaze.generation.generation_model import select_rows
from wordgaze.models import kernels
from wordgaze.models.attention import RowIndex
from wordgaze.models.decoder import MAX_DEVIATION, Decoder, DecoderOutput, StepOutput
from wordgaze.models.kernels.packing import BatchPart
from wordgaze.text.vocabulary import END, START

# Two images with captions of different lengths; the second has one caption fewer, and its longest is not the first.
CAPTIONS = [[[4, 5, 6, END], [7, END], [8, 4, END]], [[5, END], [6, 7, 8, 4, 5, END]]]

every_variant = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())


def word_by_word(decoder: Decoder, picture: Tensor, words: list[int]) -> tuple[Tensor, Tensor]:
    """Logits (T, V) and weights (T, L) of one caption of one picture, a step at a time."""
    memory = decoder.encode(picture.unsqueeze(0))
    state = decoder.init_state(memory, 1)
    logits, weights = [], []
    for last in [START, *words[:-1]]:
        output = decoder.step(torch.tensor([last]), decoder.prepare_step(state, memory), memory)
        state = output.state
        logits.append(output.logits[0])
        weights.append(output.weights[0])
    return torch.stack(logits), torch.stack(weights)


def caption_of(output: DecoderOutput, b: int, r: int) -> tuple[Tensor, Tensor, list[int]]:
    """Logits (T, V), weights (T, L) and targets of the caption ``CAPTIONS[b][r]``."""
    row = b * output.order.shape[1] + output.order[b].tolist().index(r)
    words = output.positions // output.weights.shape[1] == row
    return output.logits[words], output.weights[row, : int(words.sum())], output.targets[words].tolist()


@pytest.mark.parametrize("fast", [True, False])
@every_variant
def test_teacher_forcing_equals_a_loop_over_each_caption(values: dict[str, Any], fast: bool) -> None:
    decoder, features = decoder_of(**values), pictures()
    if fast:
        output = decoder(features, padded(CAPTIONS))
    else:
        with kernels.reference():
            output = decoder(features, padded(CAPTIONS))
    assert len(output.targets) == len(output.logits) == sum(len(words) for captions in CAPTIONS for words in captions)
    for b, captions in enumerate(CAPTIONS):
        for r, words in enumerate(captions):
            logits, weights, targets = caption_of(output, b, r)
            assert targets == words
            expected = word_by_word(decoder, features[b], words)
            torch.testing.assert_close((logits, weights), expected, atol=1e-5, rtol=1e-4)


def by_caption(output: DecoderOutput) -> list[Tensor]:
    """Logits (B, R, T, V) and the attention's (B, R, T, …), with the captions in the order that was passed in."""
    (batch_size, num_captions), length = output.order.shape, output.weights.shape[1]
    logits = output.logits.new_zeros(batch_size * num_captions * length, output.logits.shape[1])
    parts = [logits.index_copy(0, output.positions, output.logits).unflatten(0, (-1, length))]
    parts += [output.weights, output.distribution, output.sample_log_prob]
    inverse = output.order.argsort(1) + torch.arange(batch_size).unsqueeze(1) * num_captions
    return [part[inverse] for part in parts]


@every_variant
def test_the_fast_paths_give_outputs_and_gradients_of_their_plain_twins(values: dict[str, Any]) -> None:
    """Over several images and captions, so that the fast paths are really taken."""
    captions, features = padded([CAPTIONS[0], CAPTIONS[1], CAPTIONS[0][1:]]), pictures(3)
    decoder, results, gradients = decoder_of(**values), [], []
    for fast in (True, False):
        decoder.zero_grad()
        given = features.clone().requires_grad_()
        if fast:
            output = decoder(given, captions)
        else:
            with kernels.reference():
                output = decoder(given, captions)
        results.append(by_caption(output))
        loss = nn.functional.cross_entropy(output.logits, output.targets)
        (loss + output.distribution.square().sum()).backward()
        gradients.append({"features": given.grad} | {name: p.grad for name, p in decoder.named_parameters()})
    assert not torch.equal(results[0][0], results[1][0]) or values.get("attention") in ("dot", "general")
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fast", [True, False])
def test_order_names_the_captions_that_were_passed_in(fast: bool) -> None:
    decoder = decoder_of()
    if fast:
        output = decoder(pictures(), padded(CAPTIONS))
    else:
        with kernels.reference():
            output = decoder(pictures(), padded(CAPTIONS))
    assert output.order.tolist() == ([[0, 2, 1], [1, 0, 2]] if fast else [[0, 1, 2], [0, 1, 2]])


@every_variant
def test_weights_are_shares_of_one_and_zero_after_the_end(values: dict[str, Any]) -> None:
    output = decoder_of(**values)(pictures(), padded(CAPTIONS))
    assert output.weights.shape == output.distribution.shape == (6, 6, CELLS)
    whole = not values.get("sentinel") and (values.get("span") != "local_p" or values.get("hard_attention"))
    for row, length in enumerate([4, 3, 2, 6, 2, 0]):
        for weights in (output.weights, output.distribution):
            total = weights[row, :length].sum(1)
            if whole:
                torch.testing.assert_close(total, torch.ones(length))
            else:
                assert ((total > 0) & (total < 1)).all()
            assert not weights[row, length:].any()


@pytest.mark.parametrize("name", ["hard", "hard local top_down"])
def test_hard_attention_reports_the_cell_that_was_used(name: str) -> None:
    decoder = decoder_of(**VARIANTS[name])
    output = decoder(pictures(), padded(CAPTIONS))
    words = output.weights.sum(2) > 0
    assert ((output.weights == 0) | (output.weights == 1)).all()
    assert torch.equal(output.weights.argmax(2)[words], output.distribution.argmax(2)[words])
    assert (output.distribution[words].amax(1) < 1).all()
    memory, state, last = after_two_words(decoder, 2)
    assert (step(decoder, memory, state, last).weights.amax(1) == 1).all()


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
def test_an_image_has_the_same_outputs_alone_and_in_a_batch(values: dict[str, Any]) -> None:
    decoder, features = decoder_of(**values), pictures()
    together = decoder(features, padded(CAPTIONS))
    of_image = together.positions // together.weights[:3, :, 0].numel()
    for b in range(2):
        alone = decoder(features[b : b + 1], padded(CAPTIONS[b : b + 1]))
        torch.testing.assert_close(together.logits[of_image == b], alone.logits, atol=1e-5, rtol=1e-4)
        assert torch.equal(together.targets[of_image == b], alone.targets)


@every_variant
def test_a_word_does_not_depend_on_later_words(values: dict[str, Any]) -> None:
    decoder, features = decoder_of(**values), pictures(1)
    first = decoder(features, torch.tensor([[[4, 5, 6, END]]])).logits
    second = decoder(features, torch.tensor([[[4, 5, 8, END]]])).logits
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3])


def after_two_words(decoder: Decoder, captions: int) -> tuple[Any, Any, Tensor]:
    """memory, a state that differs from row to row, and the next words, for three images."""
    memory = decoder.encode(pictures(3))
    state = decoder.init_state(memory, captions)
    words = torch.arange(3 * captions) % 5 + 4
    state = decoder.step(words, decoder.prepare_step(state, memory), memory).state
    return memory, state, (words + 1) % 5 + 4


def step(decoder: Decoder, memory: Any, state: Any, words: Tensor, rows: RowIndex | None = None) -> StepOutput:
    return decoder.step(words, decoder.prepare_step(state, memory, rows), memory, rows)


@every_variant
def test_several_captions_share_the_memory_of_their_image(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 2)
    apart = decoder.encode(pictures(3).repeat_interleave(2, dim=0))
    torch.testing.assert_close(step(decoder, memory, state, words), step(decoder, apart, state, words))


@every_variant
def test_images_may_have_different_numbers_of_rows(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 3)
    chosen = torch.tensor([0, 1, 4, 6, 7, 8])  # two of the first picture, one of the second, three of the third
    some = step(decoder, memory, select_rows(state, chosen), words[chosen], RowIndex(chosen, 3))
    every = step(decoder, memory, state, words)
    torch.testing.assert_close(some, select_rows(every, chosen), atol=1e-5, rtol=1e-4)


@every_variant
def test_a_word_table_changes_nothing(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values)
    memory, state, words = after_two_words(decoder, 1)
    step_inputs = decoder.prepare_step(state, memory)
    torch.testing.assert_close(
        decoder.step(words, step_inputs, memory, None, decoder.word_table()), decoder.step(words, step_inputs, memory)
    )


@every_variant
def test_every_parameter_learns(values: dict[str, Any]) -> None:
    decoder = decoder_of(**values).train()
    output = decoder(pictures(), padded(CAPTIONS))
    (nn.functional.cross_entropy(output.logits, output.targets) + output.sample_log_prob.sum()).backward()
    still = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("dropout", ["dropout_channels", "dropout_embedding", "dropout_features", "dropout_output"])
def test_dropout_acts_in_training_only(dropout: str) -> None:
    decoder, features = decoder_of(**{dropout: 0.5}), pictures()
    for training in (False, True):
        decoder.train(training)
        one, two = (decoder(features, padded(CAPTIONS)).logits for _ in range(2))
        assert torch.equal(one, two) is not training


def test_standardised_channels_have_mean_0_and_deviation_1_and_are_clipped() -> None:
    decoder, plain = decoder_of(standardise=True), decoder_of()
    training = 7 + 3 * pictures(50)
    decoder.standardise(training)
    own = (training - training.mean((0, 1))) / training.std((0, 1))
    torch.testing.assert_close(decoder.encode(training).features, plain.encode(own).features, rtol=1e-3, atol=1e-3)
    far = decoder.encode(training + 1e6)
    torch.testing.assert_close(far.features, plain.encode(torch.full_like(training, MAX_DEVIATION)).features)


def test_a_channel_is_dropped_in_all_cells_of_an_image() -> None:
    decoder = decoder_of(feature_size=0, dropout_channels=0.5).train()
    seen = decoder.encode(pictures(20)).features
    silent = (seen == 0).all(1)
    assert torch.equal(silent, (seen == 0).any(1)) and 0 < silent.sum() < silent.numel()
    torch.testing.assert_close(seen, 2 * pictures(20) * ~silent.unsqueeze(1))


def test_a_standardised_channel_is_dropped_in_all_cells_of_an_image() -> None:
    decoder = decoder_of(feature_size=0, standardise=True, dropout_channels=0.5).train()
    features = 7 + 30 * pictures(20)
    decoder.standardise(7 + 3 * pictures(50))
    seen = decoder.encode(features).features
    silent = (seen == 0).all(1)
    assert 0 < silent.sum() < silent.numel()
    torch.testing.assert_close(seen, 2 * decoder.eval().encode(features).features * ~silent.unsqueeze(1))


def test_word_vectors_of_another_width_are_projected() -> None:
    decoder = decoder_of(vector_size=3)
    assert decoder.embedding.weight.shape[1] == 3
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
        mine = layer.recurrent_projection.weight.view(-1, HIDDEN, HIDDEN)[order].flatten(0, 1)
        theirs.weight_hh.copy_(mine)
        theirs.weight_ih.copy_(torch.eye(HIDDEN).repeat(len(order), 1))
        theirs.bias_ih.zero_()
        theirs.bias_hh.zero_()
        inputs, state = torch.randn(4, HIDDEN), tuple(torch.randn(4, HIDDEN) for _ in range(len(order) - 2))
        state = state if cell == "lstm" else (torch.randn(4, HIDDEN),)
        hidden, after, _ = layer(inputs.repeat(1, len(order)), layer.recurrent_projection(state[0]), state)
        expected = theirs(inputs, state if cell == "lstm" else state[0])
    torch.testing.assert_close(after if cell == "lstm" else hidden, expected)


def one_step(decoder: Decoder) -> tuple[dict[str, Tensor], StepOutput, Tensor, Tensor]:
    """The parameters, the step of the second word of one image, its projected features, and h, m before that step."""
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
    p, output, cells, (h, m) = one_step(decoder)
    x = (
        p["word_to_gates.weight"] @ p["embedding.weight"][4]
        + p["word_to_gates.bias"]
        + p["mean_to_gates.weight"] @ cells.mean(0)
    )
    gates = x + p["layers.0.recurrent_projection.weight"] @ h
    h, m = lstm(gates[: 4 * HIDDEN], m)
    s = gates[4 * HIDDEN :].sigmoid() * m.tanh()
    asked, v = p["attention.score.query_projection.weight"] @ h, p["attention.score.energy.weight"][0]
    z = (
        cells @ p["attention.score.key_projection.weight"].T + p["attention.score.key_projection.bias"] + asked
    ).tanh() @ v
    own = (
        p["attention.sentinel_key_projection.weight"] @ s + p["attention.sentinel_key_projection.bias"] + asked
    ).tanh() @ v
    alpha = torch.cat([z, own.unsqueeze(0)]).softmax(0)
    beta = alpha[-1]
    alone = z.softmax(0)  # equation 7; ĉ = β s + (1 − β) c, equation 11
    c = beta * s + (1 - beta) * (alone @ cells)
    torch.testing.assert_close(output.weights[0], alpha[:-1])
    torch.testing.assert_close(output.logits[0], p["lm_head.weight"] @ (c + h) + p["lm_head.bias"])


@torch.no_grad()
def test_the_top_down_decoder_is_the_papers() -> None:
    """Anderson et al. 2018, equations 1 to 6."""
    decoder = decoder_of(attention_position="between", num_layers=2, gate=False, output="plain")
    p, output, cells, (h1, m1, h2, m2) = one_step(decoder)
    gates = p["word_to_gates.weight"] @ p["embedding.weight"][4] + p["word_to_gates.bias"]
    gates = gates + p["mean_to_gates.weight"] @ cells.mean(0) + p["top_to_gates.weight"] @ h2
    h1, _ = lstm(gates + p["layers.0.recurrent_projection.weight"] @ h1, m1)
    keys = cells @ p["attention.score.key_projection.weight"].T + p["attention.score.key_projection.bias"]
    a = (keys + p["attention.score.query_projection.weight"] @ h1).tanh() @ p["attention.score.energy.weight"][0]
    alpha = a.softmax(0)
    gates = (
        p["layers.1.input_projection.weight"] @ h1
        + p["layers.1.input_projection.bias"]
        + p["context_to_gates.weight"] @ (alpha @ cells)
    )
    h2, _ = lstm(gates + p["layers.1.recurrent_projection.weight"] @ h2, m2)
    torch.testing.assert_close(output.weights[0], alpha)
    torch.testing.assert_close(output.logits[0], p["lm_head.weight"] @ h2 + p["lm_head.bias"])


@torch.no_grad()
def test_show_attend_and_tell_is_the_papers() -> None:
    """Xu et al. 2015, equations 1 to 9 and 13, with the gating scalar of section 4.2.1."""
    p, output, cells, (h, m) = one_step(decoder_of())
    keys = cells @ p["attention.score.key_projection.weight"].T + p["attention.score.key_projection.bias"]
    alpha = (
        (keys + p["attention.score.query_projection.weight"] @ h).tanh() @ p["attention.score.energy.weight"][0]
    ).softmax(0)
    z = (p["context_gate.weight"][0] @ h + p["context_gate.bias"][0]).sigmoid() * (alpha @ cells)
    word = p["embedding.weight"][4]
    gates = p["word_to_gates.weight"] @ word + p["word_to_gates.bias"] + p["context_to_gates.weight"] @ z
    h, _ = lstm(gates + p["layers.0.recurrent_projection.weight"] @ h, m)
    mixed = word + p["hidden_to_output.weight"] @ h + p["hidden_to_output.bias"] + p["context_to_output.weight"] @ z
    torch.testing.assert_close(output.weights[0], alpha)
    torch.testing.assert_close(output.logits[0], p["lm_head.weight"] @ mixed.tanh() + p["lm_head.bias"])


@pytest.mark.parametrize("fast", [True, False])
@every_variant
def test_dropout_of_a_part_is_that_of_the_whole_batch(values: dict[str, Any], fast: bool) -> None:
    """Each image alone, as processes that divide a batch compute it."""
    rates = {f"dropout_{name}": 0.4 for name in ("channels", "embedding", "features", "output")}
    decoder = decoder_of(**{**values, **rates, "hard_attention": False}).train()
    features, captions = pictures(), padded(CAPTIONS)
    with contextlib.nullcontext() if fast else kernels.reference():
        torch.manual_seed(3)
        whole, after = decoder(features, captions), torch.get_rng_state()
        for b in range(2):
            torch.manual_seed(3)
            part = decoder(features[b : b + 1], captions[b : b + 1], None, BatchPart(b, captions))
            assert torch.equal(torch.get_rng_state(), after)
            words = whole.positions // whole.weights.shape[1] // captions.shape[1] == b
            torch.testing.assert_close(part.logits, whole.logits[words], rtol=0, atol=1e-5)
