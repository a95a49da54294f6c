"""A step-wise layer gives and learns what the library's layer does, in whatever order and however often it is used."""

import pytest
import torch
from torch import Tensor, nn

from wordgaze.models import kernels
from wordgaze.models.kernels import linear
from wordgaze.models.kernels.step_linear import StepLinear, deferred_weight_gradients


@pytest.fixture(params=[False, True], ids=["", "packed"], autouse=True)
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the layout of oneDNN's kernels, which such small layers have only on demand."""
    if request.param:
        monkeypatch.setattr(linear, "MIN_ROWS", 1)
        monkeypatch.setattr(linear, "MIN_SIZE", 1)


def layers(bias: bool) -> tuple[StepLinear, nn.Linear]:
    torch.manual_seed(1)
    mine, theirs = StepLinear(4, 4, bias=bias), nn.Linear(4, 4, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


def recurrence(layer: nn.Linear, start: Tensor) -> Tensor:
    """Three steps of fewer and fewer rows, and one that nothing depends on."""
    state, total = start, torch.zeros(())
    for rows in (5, 3, 2):
        state = torch.tanh(layer(state[:rows]))
        total = total + state.square().sum()
    layer(state)
    return total


def gradients(layer: nn.Linear, start: Tensor) -> list[Tensor]:
    with deferred_weight_gradients(layer, 5):
        total = recurrence(layer, start)
    total.backward()
    return [part.grad for part in (start, *layer.parameters()) if part.grad is not None]


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_the_librarys_layer(bias: bool) -> None:
    starts = [torch.linspace(-1, 1, 20).view(5, 4).requires_grad_() for _ in range(2)]
    mine, theirs = (gradients(layer, start) for layer, start in zip(layers(bias), starts, strict=True))
    assert len(mine) == len(theirs) == 2 + bias
    torch.testing.assert_close(mine, theirs)


def test_two_sequences_add_up() -> None:
    mine, theirs = layers(True)
    for layer in (mine, theirs):
        for scale in (1.0, 0.5):
            gradients(layer, scale * torch.ones(5, 4))
    torch.testing.assert_close(mine.weight.grad, theirs.weight.grad)


def test_a_frozen_weight_lets_gradients_through_and_learns_nothing() -> None:
    mine, theirs = layers(False)
    starts = [torch.ones(5, 4, requires_grad=True) for _ in range(2)]
    for layer in (mine, theirs):
        layer.weight.requires_grad_(False)
    one, two = (gradients(layer, start) for layer, start in zip((mine, theirs), starts, strict=True))
    torch.testing.assert_close(one, two)
    assert mine.weight.grad is None


def test_reference_takes_the_librarys_layer() -> None:
    mine, theirs = layers(True)
    with kernels.reference(), deferred_weight_gradients(mine, 5):
        assert mine._sequence is None
        gradients = [torch.autograd.grad(recurrence(layer, torch.ones(5, 4)), layer.weight) for layer in (mine, theirs)]
    assert torch.equal(*(gradient for (gradient,) in gradients))


def test_without_gradients_and_outside_a_sequence_it_is_the_librarys_layer() -> None:
    mine, theirs = layers(True)
    with torch.no_grad(), deferred_weight_gradients(mine, 5):
        assert torch.equal(mine(torch.ones(5, 4)), theirs(torch.ones(5, 4)))
    with pytest.raises(RuntimeError, match="stop"), deferred_weight_gradients(mine, 5):
        raise RuntimeError("stop")
    mine(torch.ones(5, 4)).sum().backward()
    theirs(torch.ones(5, 4)).sum().backward()
    assert mine.weight.grad is not None
    assert theirs.weight.grad is not None
    assert torch.equal(mine.weight.grad, theirs.weight.grad)
