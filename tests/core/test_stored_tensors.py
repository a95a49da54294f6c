"""Tensors that do not fit each other are refused before anything is computed with them."""

import pytest
import torch
from torch import Tensor

from wordgaze.core.stored_tensors import checked_ids, checked_tensors

SHAPES = {"mean": "C", "vectors": "M C", "pair": "2", "number": ""}


def tensors(**changes: Tensor) -> dict[str, Tensor]:
    own = {"mean": torch.ones(3), "vectors": torch.ones(5, 3).half(), "pair": torch.ones(2), "number": torch.tensor(1)}
    return own | changes


def test_tensors_that_fit_come_in_the_order_of_the_shapes() -> None:
    assert [tuple(each.shape) for each in checked_tensors(tensors(), SHAPES)] == [(3,), (5, 3), (2,), ()]
    checked_tensors(tensors(), SHAPES, C=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": torch.ones(5, 4)}, r"vectors has the shape \[5, 4\], not \[M, 3\]"),
        ({"vectors": torch.ones(15)}, r"vectors has the shape \[15\], not \[M, 3\]"),
        ({"pair": torch.ones(3)}, r"pair has the shape \[3\], not \[2\]"),
        ({"mean": torch.tensor([1, torch.nan, 1])}, "mean has a value that is not a finite number"),
        ({"vectors": torch.full((5, 3), torch.inf)}, "vectors has a value that is not a finite number"),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_tensors(tensors(**changes), SHAPES)


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(KeyError, match="mean"):
        checked_tensors({}, SHAPES)


@pytest.mark.parametrize("ids", [torch.tensor([0, 6]), torch.tensor([-1]), torch.tensor([0.5])])
def test_token_ids_outside_the_vocabulary_are_refused(ids: Tensor) -> None:
    assert checked_ids("captions", torch.tensor([0, 5]), 6).tolist() == [0, 5]
    with pytest.raises(ValueError, match="captions has"):
        checked_ids("captions", ids, 6)
