"""The loss against its formula, one number at a time, and hard attention's estimator against the exact gradient."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.models.variants import decoder_of
from wordgaze.config.params import TrainParams
from wordgaze.models.decoder import Decoder, DecoderOutput
from wordgaze.text.vocabulary import END, START
from wordgaze.training.losses import captioning_loss, update_baseline

N, V = 5, 4


def settings(smoothing: float = 0.0, weight: float = 0.0, **values: object) -> TrainParams:
    return TrainParams.model_validate({"label_smoothing": smoothing, "doubly_stochastic": weight, **values})


def sample_output() -> DecoderOutput:
    """Two captions of two and three words over three cells, and a rank that no caption fills."""
    torch.manual_seed(3)
    weights = torch.softmax(torch.randn(3, 3, 3), dim=-1)
    weights[0, 2:] = 0
    weights[2] = 0
    positions = torch.tensor([0, 3, 1, 4, 5])  # three steps a caption: words 0, 2 of the first, 1, 3, 4 of the second
    order = torch.arange(3).view(1, 3)
    targets = torch.tensor([2, 3, 1, 3, 2])
    return DecoderOutput(torch.randn(N, V), targets, positions, weights, weights, torch.zeros(3, 3), order)


def cross_entropy(output: DecoderOutput, smoothing: float) -> float:
    total = 0.0
    for logits, target in zip(output.logits.tolist(), output.targets.tolist(), strict=True):
        norm = math.log(sum(math.exp(x) for x in logits))
        wanted = [smoothing / V + (1 - smoothing) * (v == target) for v in range(V)]
        total -= sum(p * (x - norm) for p, x in zip(wanted, logits, strict=True))
    return total / N


def spread(output: DecoderOutput) -> float:
    captions = output.distribution.tolist()[:2]  # the third holds no caption
    missed = [1 - sum(weights[cell] for weights in steps) for steps in captions for cell in range(3)]
    return sum(m * m for m in missed) / len(missed)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_the_formula(smoothing: float, weight: float) -> None:
    loss = captioning_loss(sample_output(), settings(smoothing, weight))
    assert float(loss.loss) == pytest.approx(
        cross_entropy(sample_output(), smoothing) + weight * spread(sample_output()), rel=1e-5
    )
    assert loss.metrics["train_loss"] == pytest.approx(cross_entropy(sample_output(), 0.0), rel=1e-5)
    assert loss.reward is None


def test_without_smoothing_and_regulariser_the_loss_is_what_is_reported() -> None:
    loss = captioning_loss(sample_output(), settings())
    assert float(loss.loss) == loss.metrics["train_loss"]


def test_attending_each_cell_once_costs_nothing() -> None:
    output = sample_output()._replace(distribution=torch.eye(3).expand(2, 3, 3), sample_log_prob=torch.zeros(2, 3))
    with_it, without = (captioning_loss(output, settings(0.1, weight)).loss for weight in (5.0, 0.0))
    assert float(with_it) == pytest.approx(float(without))


def test_gradients_come_from_words_and_from_weights_but_not_through_the_reported_number() -> None:
    output = sample_output()
    output.logits.requires_grad_()
    output.distribution.requires_grad_()
    loss = captioning_loss(output, settings(0.1, 1.0))
    loss.loss.backward()  # type: ignore[no-untyped-call]
    assert isinstance(loss.metrics["train_loss"], float)
    assert output.logits.grad is not None
    assert output.logits.grad.any()
    assert output.distribution.grad is not None
    assert output.distribution.grad[:2].any()
    assert not output.distribution.grad[2].any()


def test_bf16_logits_are_summed_in_fp32() -> None:
    output = sample_output()
    rounded = output._replace(logits=output.logits.bfloat16(), distribution=output.distribution.bfloat16())
    assert captioning_loss(rounded, settings(0.0, 1.0)).loss.dtype == torch.float32


def test_hard_attention_adds_the_papers_terms() -> None:
    """λ_r Σ_t (Σ_u≥t log p(y_u) − b) log p(s_t) + λ_e H[s] of captions whose cells were drawn: here the second."""
    drawn = torch.zeros(3, 3)
    drawn[1] = torch.tensor([-0.5, -1.5, -0.25])
    output = sample_output()._replace(sample_log_prob=drawn)
    loss = captioning_loss(output, settings(reinforce_weight=0.7, entropy_weight=0.3), baseline=-1.5)
    log_probs = torch.log_softmax(output.logits, 1)[torch.arange(N), output.targets]
    words = log_probs[[1, 3, 4]].tolist()
    to_come = [sum(w + 1.5 for w in words[t:]) for t in range(3)]
    rewarded = sum(gain * log_prob for gain, log_prob in zip(to_come, (-0.5, -1.5, -0.25), strict=True))
    entropy = float(-(output.distribution[1] * output.distribution[1].log()).sum())
    expected = 0.7 * rewarded + 0.3 * entropy
    assert loss.reward
    assert loss.reward == (pytest.approx(sum(words) / 3), 3)
    assert float(loss.loss) == pytest.approx(loss.metrics["train_loss"] - expected / N, rel=1e-5)


def test_the_baseline_moves_a_tenth_of_the_way() -> None:
    assert update_baseline(None, -3.0) == -3.0
    assert update_baseline(-3.0, -2.0) == pytest.approx(-2.9)


CAPTION, DRAWS = [4, 5, END], 50
PICTURE = 3 * torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(4))  # three cells


SPANS: dict[str, dict[str, object]] = {"global": {}, "local_p": {"span": "local_p", "window": 2}}
every_span = pytest.mark.parametrize("values", SPANS.values(), ids=SPANS.keys())


def hard(values: dict[str, object]) -> Decoder:
    return decoder_of(hard_attention=True, soft_attention_share=0.0, **values)


def exact_gradient(decoder: Decoder) -> Tensor:
    """Of Σ_s p(s | a) log p(y | s, a), all sequences s of cells enumerated; Xu et al. 2015, equations 10 and 11.

    p(s_t) is the softmax over the window, for local-p times the Gaussian, and made to sum to 1."""
    bound = torch.zeros(())
    for cells in product(range(3), repeat=len(CAPTION)):
        memory = decoder.encode(PICTURE)
        state, last = decoder.init_state(memory, 1), START
        log_prob, probability = torch.zeros(()), torch.ones(())
        for cell, word in zip(cells, CAPTION, strict=True):
            step_inputs = decoder.prepare_step(state, memory)
            assert step_inputs.attention
            distribution = step_inputs.attention.distribution[0]
            probability = probability * distribution[cell] / distribution.sum()
            gate = torch.sigmoid(decoder.context_gate(state.layers[0][0]))
            context = gate * memory.features[:, cell]
            attended = step_inputs._replace(
                input_gates=decoder.context_to_gates(context),
                attention=step_inputs.attention._replace(context=context),
            )
            output = decoder.step(torch.tensor([last]), attended, memory)
            log_prob = log_prob + torch.log_softmax(output.logits[0], 0)[word]
            state, last = output.state, word
        bound = bound + probability * log_prob
    return flat_gradient(decoder, bound)


def flat_gradient(decoder: Decoder, value: Tensor) -> Tensor:
    gradients = torch.autograd.grad(value, list(decoder.parameters()), allow_unused=True)
    every = zip(gradients, decoder.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in every])


def estimates(decoder: Decoder, baseline: float, count: int) -> Tensor:
    """Each the mean of ``DRAWS``, (count, parameters): of the bound, so the loss is turned round and taken a caption."""
    torch.manual_seed(0)
    decoder.train()
    params, found = settings(reinforce_weight=1.0, entropy_weight=0.0), []
    pictures, captions = PICTURE.expand(DRAWS, -1, -1), torch.tensor([[CAPTION]]).expand(DRAWS, -1, -1)
    for _ in range(count):
        loss = captioning_loss(decoder(pictures, captions), params, baseline)
        found.append(flat_gradient(decoder, -len(CAPTION) * loss.loss))
    return torch.stack(found)


def flat_through_words(decoder: Decoder) -> Tensor:
    """The part of the estimates that comes from the words alone, without any reward."""
    torch.manual_seed(0)
    decoder.train()
    pictures, captions = PICTURE.expand(5000, -1, -1), torch.tensor([[CAPTION]]).expand(5000, -1, -1)
    loss = captioning_loss(decoder(pictures, captions), settings(reinforce_weight=0.0, entropy_weight=0.0))
    return flat_gradient(decoder, -len(CAPTION) * loss.loss)


@every_span
def test_the_mean_of_hard_attentions_estimates_is_the_exact_gradient(values: dict[str, object]) -> None:
    decoder, count = hard(values), 100
    exact = exact_gradient(decoder)
    found = estimates(decoder, baseline=-2.3, count=count)
    error = (found.mean(0) - exact).norm()
    expected = (found.var(0).sum() / count).sqrt()  # of a mean of so many independent estimates
    assert error < 2 * expected
    assert expected < 0.1 * exact.norm()
    reversed_ = 2 * flat_through_words(decoder) - found.mean(0)  # the reward's part with the wrong sign
    assert (reversed_ - exact).norm() > 4 * expected


def test_the_baseline_lowers_the_variance_of_the_estimates() -> None:
    decoder = hard({})
    mean = -captioning_loss(decoder(PICTURE, torch.tensor([[CAPTION]])), settings()).metrics["train_loss"]
    without, with_it = (estimates(decoder, baseline, 20).var(0).sum() for baseline in (0.0, mean))
    assert with_it < 0.5 * without
