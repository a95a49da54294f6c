"""Fused convolutions compute what PyTorch computes, with the activation and the padding of the original."""

import pytest
import torch
from torch import nn

from wordgaze.vision import fused_convolution
from wordgaze.vision.efficientnet_lite import SameConv2d
from wordgaze.vision.fused_convolution import FusedConv2d, fuse_convolutions


def block(conv: nn.Conv2d, activation: nn.Module | None) -> nn.Sequential:
    rest = nn.Sequential(activation) if activation else nn.Sequential()
    return nn.Sequential(conv, rest, nn.MaxPool2d(2)).requires_grad_(False)


NO_BF16 = pytest.mark.skipif(not fused_convolution._HAS_BF16, reason="the processor has no kernels for bf16")


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=NO_BF16)])
@pytest.mark.parametrize("activation", [None, nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.GELU()])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.Conv2d(3, 9, 5, groups=3, dilation=2, bias=False),
        SameConv2d(3, 12, 5, stride=2),
        SameConv2d(3, 3, 3, groups=3),
        SameConv2d(3, 8, 1),
    ],
)
def test_the_output_is_that_of_the_convolution_and_its_activation(
    conv: nn.Conv2d, activation: nn.Module | None, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    plain = block(conv, activation).to(dtype, memory_format=torch.channels_last)
    images = [(4 * torch.randn(b, 3, s, s)).to(dtype, memory_format=torch.channels_last) for b, s in ((2, 33), (5, 20))]
    expected = [plain(image) for image in images]
    fused = block(conv, activation).to(dtype, memory_format=torch.channels_last)
    fuse_convolutions(fused, dtype)
    assert isinstance(fused[0], FusedConv2d)
    assert isinstance(fused[1], nn.Identity) == (activation is not None and not isinstance(activation, nn.GELU))
    for image, output in zip(images, expected, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 0.03
        torch.testing.assert_close(fused(image), output, atol=4 * tolerance, rtol=tolerance)


def test_other_convolutions_stay() -> None:
    class Scaled(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    convs = [Scaled(3, 4, 3), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 4, 3, padding="same")]
    for conv in convs:
        module = block(conv, nn.ReLU())
        fuse_convolutions(module, torch.float32)
        assert module[0] is conv
        assert isinstance(module[1], nn.Sequential)


def test_without_kernels_for_bf16_its_convolutions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN refuses them there; PyTorch computes them more slowly."""
    monkeypatch.setattr(fused_convolution, "_HAS_BF16", False)
    for dtype, kind in ((torch.bfloat16, nn.Conv2d), (torch.float32, FusedConv2d)):
        module = block(nn.Conv2d(3, 4, 3), nn.ReLU())
        fuse_convolutions(module, dtype)
        assert type(module[0]) is kind


def test_a_network_may_ask_a_fused_convolution_for_its_weight_and_its_kernel_size() -> None:
    conv = nn.Conv2d(3, 4, 5)
    fused = FusedConv2d(conv, ("none", [], ""))
    assert fused.weight is conv.weight
    assert fused.kernel_size == (5, 5)
    with pytest.raises(AttributeError, match="colour"):
        fused.colour  # noqa: B018


def test_fusing_twice_is_fusing_once() -> None:
    module = block(nn.Conv2d(3, 4, 3), nn.ReLU())
    fuse_convolutions(module, torch.float32)
    once = module[0]
    fuse_convolutions(module, torch.float32)
    assert module[0] is once
    assert isinstance(once.conv, nn.Conv2d)
