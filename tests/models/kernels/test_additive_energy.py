"""The energies and gradients of additive attention are those of the plain formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wordgaze.models import kernels
from wordgaze.models.kernels import additive_energy as module
from wordgaze.models.kernels.additive_energy import additive_energy


def plain(keys: Tensor, query: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(keys.unsqueeze(1) + query.unsqueeze(2)) @ v


def example(scale: float, pictures: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    sizes = ((pictures, 5, 7), (pictures, 4, 7), (7,))
    keys, query, v = (torch.randn(size, generator=random) for size in sizes)
    return scale * keys, scale * query, v


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("pictures", [1, 8, 19])
def test_energies_are_those_of_the_formula(scale: float, pictures: int) -> None:
    keys, query, v = example(scale, pictures)
    with torch.no_grad():
        torch.testing.assert_close(additive_energy(keys, query, v), plain(keys, query, v), atol=2e-6, rtol=1e-5)
    learning = [part.clone().requires_grad_() for part in (keys, query, v)]
    torch.testing.assert_close(additive_energy(*learning), plain(keys, query, v), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_gradients_are_those_of_the_formula(scale: float) -> None:
    parts = example(scale)
    weight = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))
    gradients = []
    for energy in (additive_energy, plain):
        leaves = [part.clone().requires_grad_() for part in parts]
        (energy(*leaves) * weight).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_no_key_and_no_query_is_too_large(key: float, query: float) -> None:
    keys, queries = torch.full((1, 2, 1), key, requires_grad=True), torch.full((1, 2, 1), query)
    energy = additive_energy(keys, queries, torch.ones(1))[0, 0, 0]
    energy.backward()
    assert -1 <= energy.item() <= 1
    assert keys.grad is not None
    assert 0 <= keys.grad[0, 0].item() <= 1
    if max(abs(key), abs(query)) < 40:
        assert energy.item() == pytest.approx(float(torch.tanh(torch.tensor(key + query))), abs=1e-5)


def test_one_key_or_one_query_takes_the_formula_itself() -> None:
    keys, query, v = example(1.0)
    assert torch.equal(additive_energy(keys[:, :1], query, v), plain(keys[:, :1], query, v))
    assert torch.equal(additive_energy(keys[:1], query[:1, :1], v), plain(keys[:1], query[:1, :1], v))


def test_reference_takes_the_formula_itself() -> None:
    parts = example(1.0)
    with kernels.reference():
        assert torch.equal(additive_energy(*parts), plain(*parts))
    assert not torch.equal(additive_energy(*parts), plain(*parts))


def test_bf16_is_computed_in_single_precision() -> None:
    parts = [part.bfloat16() for part in example(1.0)]
    exact = plain(*(part.float() for part in parts))
    torch.testing.assert_close(additive_energy(*parts), exact, atol=2e-6, rtol=1e-5)


def test_double_precision_takes_the_formula_itself() -> None:
    keys, query, v = (part.double() for part in example(1.0))
    assert torch.equal(additive_energy(keys, query, v), plain(keys, query, v))


@pytest.mark.parametrize("chunk", [35, 3 * 35, 8 * 35, 9 * 35])
def test_pairs_may_be_computed_in_parts(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is one query of an image, three of its four, two images, or two images and a query that waits."""
    gradients, energies = [], []
    for size in (chunk, 2**18):
        monkeypatch.setattr(module, "CHUNK", size)
        leaves = [part.clone().requires_grad_() for part in example(1.0)]
        energies.append(additive_energy(*leaves))
        energies[-1].square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(energies[0], energies[1])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)
