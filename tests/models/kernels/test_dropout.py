"""Dropout sets the wanted share to zero, keeps the expectation, and follows the random seed."""

import pytest
import torch

from wordgaze.models import kernels
from wordgaze.models.kernels.dropout import dropout

ONES = torch.ones(1001, 999)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_is_dropped_and_the_rest_scaled(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    dropped = dropout(ONES.to(dtype), rate, True)
    assert dropped.dtype == dtype
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=0.002)
    assert float(dropped.float().mean()) == pytest.approx(1, abs=0.01)
    assert len(dropped.unique()) == 2


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    kept = (dropout(ONES, 0.5, True) != 0).flatten().float()
    for distance in (1, 2, 3, 4):
        both = kept[:-distance] * kept[distance:]
        assert float(both.mean()) == pytest.approx(0.25, abs=0.002)


def test_a_gradient_flows_to_what_was_kept() -> None:
    x = torch.ones(50, 3, requires_grad=True)
    dropped = dropout(x, 0.4, True)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped)


def test_the_seed_decides() -> None:
    first, second, third = (dropout(torch.manual_seed(seed) and ONES, 0.5, True) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_nothing_changes_at_rate_0_and_outside_of_training() -> None:
    assert torch.equal(dropout(ONES, 0.0, True), ONES)
    assert torch.equal(dropout(ONES, 0.5, False), ONES)
    assert not dropout(ONES, 1.0, True).any()


def test_reference_is_the_librarys_dropout() -> None:
    torch.manual_seed(1)
    expected = torch.nn.functional.dropout(ONES, 0.5)
    torch.manual_seed(1)
    with kernels.reference():
        assert torch.equal(dropout(ONES, 0.5, True), expected)
