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


def taught() -> DecoderOutput:
    """Two captions of two and three words over three cells, and a rank that no caption fills."""
    torch.manual_seed(3)
    weights = torch.softmax(torch.randn(3, 3, 3), dim=-1)
    weights[0, 2:] = 0
    weights[2] = 0
    place = torch.tensor([0, 3, 1, 4, 5])  # three steps a caption: words 0, 2 of the first, 1, 3, 4 of the second
    return DecoderOutput(torch.randn(N, V), torch.tensor([2, 3, 1, 3, 2]), place, weights, torch.zeros(3, 3))


def cross_entropy(example: DecoderOutput, smoothing: float) -> float:
    total = 0.0
    for logits, target in zip(example.logits.tolist(), example.targets.tolist(), strict=True):
        norm = math.log(sum(math.exp(x) for x in logits))
        wanted = [smoothing / V + (1 - smoothing) * (v == target) for v in range(V)]
        total -= sum(p * (x - norm) for p, x in zip(wanted, logits, strict=True))
    return total / N


def spread(example: DecoderOutput) -> float:
    captions = example.weights.tolist()[:2]  # the third holds no caption
    missed = [1 - sum(weights[cell] for weights in steps) for steps in captions for cell in range(3)]
    return sum(m * m for m in missed) / len(missed)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_the_formula(smoothing: float, weight: float) -> None:
    loss = captioning_loss(taught(), settings(smoothing, weight))
    assert float(loss.loss) == pytest.approx(cross_entropy(taught(), smoothing) + weight * spread(taught()), rel=1e-5)
    assert loss.metrics["train_loss"] == pytest.approx(cross_entropy(taught(), 0.0), rel=1e-5)
    assert loss.reward is None


def test_without_smoothing_and_regulariser_the_loss_is_what_is_reported() -> None:
    loss = captioning_loss(taught(), settings())
    assert float(loss.loss) == loss.metrics["train_loss"]


def test_looking_at_each_cell_once_costs_nothing() -> None:
    example = taught()._replace(weights=torch.eye(3).expand(2, 3, 3), drawn=torch.zeros(2, 3))
    with_it, without = (captioning_loss(example, settings(0.1, weight)).loss for weight in (5.0, 0.0))
    assert float(with_it) == pytest.approx(float(without))


def test_gradients_come_from_words_and_from_weights_but_not_through_the_reported_number() -> None:
    example = taught()
    example.logits.requires_grad_()
    example.weights.requires_grad_()
    loss = captioning_loss(example, settings(0.1, 1.0))
    loss.loss.backward()  # type: ignore[no-untyped-call]
    assert isinstance(loss.metrics["train_loss"], float)
    assert example.logits.grad is not None
    assert example.logits.grad.any()
    assert example.weights.grad is not None
    assert example.weights.grad[:2].any()
    assert not example.weights.grad[2].any()


def test_bf16_logits_are_summed_in_fp32() -> None:
    example = taught()
    rounded = example._replace(logits=example.logits.bfloat16(), weights=example.weights.bfloat16())
    assert captioning_loss(rounded, settings(0.0, 1.0)).loss.dtype == torch.float32


def test_hard_attention_adds_the_papers_terms() -> None:
    """λ_r Σ_t (Σ_u≥t log p(y_u) − b) log p(s_t) + λ_e H[s] of captions whose cells were drawn: here the second."""
    drawn = torch.zeros(3, 3)
    drawn[1] = torch.tensor([-0.5, -1.5, -0.25])
    example = taught()._replace(drawn=drawn)
    loss = captioning_loss(example, settings(reinforce_weight=0.7, entropy_weight=0.3), baseline=-1.5)
    log_probs = torch.log_softmax(example.logits, 1)[torch.arange(N), example.targets]
    words = log_probs[[1, 3, 4]].tolist()
    to_come = [sum(w + 1.5 for w in words[t:]) for t in range(3)]
    rewarded = sum(gain * log_prob for gain, log_prob in zip(to_come, (-0.5, -1.5, -0.25), strict=True))
    entropy = float(-(example.weights[1] * example.weights[1].log()).sum())
    expected = 0.7 * rewarded + 0.3 * entropy
    assert loss.reward
    assert loss.reward == (pytest.approx(sum(words) / 3), 3)
    assert float(loss.loss) == pytest.approx(loss.metrics["train_loss"] - expected / N, rel=1e-5)


def test_the_baseline_moves_a_tenth_of_the_way() -> None:
    assert update_baseline(None, -3.0) == -3.0
    assert update_baseline(-3.0, -2.0) == pytest.approx(-2.9)


CAPTION, DRAWS = [4, 5, END], 50
PICTURE = 3 * torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(4))  # three cells


def hard() -> Decoder:
    return decoder_of(hard_attention=True, soft_attention_share=0.0)


def exact_gradient(decoder: Decoder) -> Tensor:
    """Of Σ_s p(s | a) log p(y | s, a), all sequences s of cells enumerated; Xu et al. 2015, equations 10 and 11."""
    bound = torch.zeros(())
    for cells in product(range(3), repeat=len(CAPTION)):
        memory = decoder.encode(PICTURE)
        state, last, said, looked = decoder.init_state(memory, 1), START, torch.zeros(()), torch.ones(())
        for cell, word in zip(cells, CAPTION, strict=True):
            step_inputs = decoder.prepare_step(state, memory)
            assert step_inputs.looked
            looked = looked * step_inputs.looked.weights[0, cell]
            gate = torch.sigmoid(decoder.gate(state.layers[0][0]))
            context = gate * memory.features[:, cell]
            seen = step_inputs._replace(
                inputs=decoder.context_gates(context), looked=step_inputs.looked._replace(context=context)
            )
            after = decoder.step(torch.tensor([last]), seen, memory)
            said = said + torch.log_softmax(after.logits[0], 0)[word]
            state, last = after.state, word
        bound = bound + looked * said
    return flat_gradient(decoder, bound)


def flat_gradient(decoder: Decoder, value: Tensor) -> Tensor:
    slopes = torch.autograd.grad(value, list(decoder.parameters()), allow_unused=True)
    every = zip(slopes, decoder.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if s is None else s).flatten() for s, p in every])


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


def test_the_mean_of_hard_attentions_estimates_is_the_exact_gradient() -> None:
    decoder, count = hard(), 100
    exact = exact_gradient(decoder)
    found = estimates(decoder, baseline=-2.3, count=count)
    error = (found.mean(0) - exact).norm()
    expected = (found.var(0).sum() / count).sqrt()  # of a mean of so many independent estimates
    assert error < 2 * expected
    assert expected < 0.1 * exact.norm()
    reversed_ = 2 * flat_through_words(decoder) - found.mean(0)  # the reward's part with the wrong sign
    assert (reversed_ - exact).norm() > 4 * expected


def test_the_baseline_lowers_the_variance_of_the_estimates() -> None:
    decoder = hard()
    mean = -captioning_loss(decoder(PICTURE, torch.tensor([[CAPTION]])), settings()).metrics["train_loss"]
    without, with_it = (estimates(decoder, baseline, 20).var(0).sum() for baseline in (0.0, mean))
    assert with_it < 0.5 * without
