"""The loss against its formula, one number at a time."""

import math

import pytest
import torch

from wordgaze.model.decoder import Taught
from wordgaze.training.loss import captioning_loss

N, V = 5, 4


def taught() -> Taught:
    """Two captions of two and three words over three cells, and a rank that no caption fills."""
    torch.manual_seed(3)
    weights = torch.softmax(torch.randn(3, 3, 3), dim=-1)
    weights[0, 2:] = 0
    weights[2] = 0
    return Taught(torch.randn(N, V), torch.tensor([2, 3, 1, 3, 2]), weights)


def cross_entropy(example: Taught, smoothing: float) -> float:
    total = 0.0
    for logits, target in zip(example.logits.tolist(), example.targets.tolist(), strict=True):
        norm = math.log(sum(math.exp(x) for x in logits))
        wanted = [smoothing / V + (1 - smoothing) * (v == target) for v in range(V)]
        total -= sum(p * (x - norm) for p, x in zip(wanted, logits, strict=True))
    return total / N


def spread(example: Taught) -> float:
    captions = example.weights.tolist()[:2]  # the third holds no caption
    missed = [1 - sum(weights[cell] for weights in steps) for steps in captions for cell in range(3)]
    return sum(m * m for m in missed) / len(missed)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_is_the_formula(smoothing: float, weight: float) -> None:
    loss, plain = captioning_loss(taught(), smoothing, weight)
    assert float(loss) == pytest.approx(cross_entropy(taught(), smoothing) + weight * spread(taught()), rel=1e-5)
    assert float(plain) == pytest.approx(cross_entropy(taught(), 0.0), rel=1e-5)


def test_without_smoothing_and_regulariser_the_loss_is_what_is_reported() -> None:
    loss, plain = captioning_loss(taught(), 0.0, 0.0)
    assert float(loss) == float(plain)


def test_looking_at_each_cell_once_costs_nothing() -> None:
    example = taught()._replace(weights=torch.eye(3).expand(2, 3, 3))
    with_it, _ = captioning_loss(example, 0.1, 5.0)
    without, _ = captioning_loss(example, 0.1, 0.0)
    assert float(with_it) == pytest.approx(float(without))


def test_gradients_come_from_words_and_from_weights_but_not_through_the_reported_number() -> None:
    example = taught()
    example.logits.requires_grad_()
    example.weights.requires_grad_()
    loss, plain = captioning_loss(example, 0.1, 1.0)
    loss.backward()
    assert not plain.requires_grad
    assert example.logits.grad is not None
    assert example.logits.grad.any()
    assert example.weights.grad is not None
    assert example.weights.grad[:2].any()
    assert not example.weights.grad[2].any()


def test_bf16_logits_are_summed_in_fp32() -> None:
    example = taught()
    loss, _ = captioning_loss(Taught(example.logits.bfloat16(), example.targets, example.weights.bfloat16()), 0.0, 1.0)
    assert loss.dtype == torch.float32
