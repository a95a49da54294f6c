"""A linear layer whose products are oneDNN's gives and learns what the library's layer does."""

import pytest
import torch
from torch import Tensor, nn

from wordgaze.models import kernels
from wordgaze.models.kernels import linear as module
from wordgaze.models.kernels.linear import Linear, linear, product

needs_onednn = pytest.mark.skipif(not module._HAS_ONEDNN, reason="oneDNN's products are used on x86 with AVX2 only")


@pytest.fixture
def every_size_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_ROWS", 1)
    monkeypatch.setattr(module, "MIN_SIZE", 1)


def layers(bias: bool) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(1)
    mine, theirs = Linear(6, 5, bias=bias), nn.Linear(6, 5, bias=bias)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.usefixtures("every_size_pays")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (0,), ()], ids=str)
def test_outputs_and_gradients_are_those_of_the_librarys_layer(bias: bool, shape: tuple[int, ...]) -> None:
    results = []
    for layer in layers(bias):
        x = inputs(*shape).requires_grad_()
        output = layer(x)
        output.square().sum().backward()
        results.append([output, x.grad, *(p.grad for p in layer.parameters())])
    torch.testing.assert_close(*results)


@pytest.mark.usefixtures("every_size_pays")
def test_only_what_needs_a_gradient_gets_one() -> None:
    layer = layers(True)[0]
    layer.bias.requires_grad_(False)
    x = inputs(7)
    layer(x).sum().backward()
    assert (x.grad, layer.bias.grad) == (None, None)
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert not layer(x).requires_grad


@needs_onednn
def test_large_products_in_single_precision_are_onednns(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    monkeypatch.setattr(module, "_product", lambda x, weight, bias=None: rows.append(len(x)) or x @ weight.T)
    weight = torch.zeros(512, 512)
    for count, dtype in ((64, torch.float32), (64, torch.bfloat16), (15, torch.float32)):
        linear(torch.zeros(count, 512, dtype=dtype), weight.to(dtype))
        product(torch.zeros(count, 512, dtype=dtype), weight.to(dtype))
    linear(torch.zeros(64, 8), torch.zeros(8, 8))
    with kernels.reference():
        linear(torch.zeros(64, 512), weight)
    assert rows == [64, 64]
