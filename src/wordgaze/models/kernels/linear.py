"""Linear layers whose products in single precision are computed by oneDNN.

PyTorch computes fp32 products on x86 with MKL. On processors of AMD, MKL has AVX2 kernels alone, and at the shapes of a
decoder oneDNN's are faster: 1.15 times with AVX2, 2.2 times with AVX-512. For bf16 PyTorch calls oneDNN itself. Small
products stay with MKL, whose calls cost less. The plain twin is ``torch.nn.functional.linear``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wordgaze.models.kernels import use_fast

MIN_ROWS = 16
MIN_SIZE = 2**22  # rows · input size · output size, from which on oneDNN's products are no slower

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available() and (  # type: ignore[no-untyped-call]
    torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


class PackedWeight(NamedTuple):
    """A weight (O, I) in the layout of oneDNN's kernels: ``weight``, and ``transposed`` for gradients of the input."""

    weight: Tensor
    transposed: Tensor


class _Linear(torch.autograd.Function):
    """x W^T + b: x (N, I), W (O, I), b (O,) → (N, O)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x, W and b."""
        (grad,) = grad_outputs
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.T) if needs_x else None,
            _product(grad.T, x.T) if needs_weight else None,
            grad.sum(0) if needs_bias else None,
        )


class Linear(nn.Linear):
    """``nn.Linear``, computed by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """x (…, I) → (…, O)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, with its gradients: x (…, I), W (O, I), b (O,) → (…, O)."""
    if not _pays(x, weight):
        return nn.functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    output: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return output.view(*x.shape[:-1], -1)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b without gradients, for backward passes: x (N, I), W (O, I), b (O,) → (N, O)."""
    return _product(x, weight, bias) if _pays(x, weight) else nn.functional.linear(x, weight, bias)


def pack(weight: Tensor, rows: int) -> PackedWeight | None:
    """The weight for many products of about ``rows`` rows each, None where packing does not pay."""
    if not _pays(weight.new_empty(1, 1).expand(rows, weight.shape[1]), weight):
        return None
    reorder = torch.ops.mkldnn._reorder_linear_weight
    return PackedWeight(reorder(weight, rows), reorder(weight.T, rows))


def packed_product(x: Tensor, packed: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b without gradients, with one of the layouts of a packed W."""
    return _product(x, packed, bias) if len(x) else x.new_empty(0, packed.shape[0])


def _pays(x: Tensor, weight: Tensor) -> bool:
    if not _HAS_ONEDNN or not use_fast(x.device):  # before the sizes are compared, which an export would remember
        return False
    rows = x.numel() // max(1, x.shape[-1])
    is_fp32 = x.dtype == weight.dtype == torch.float32
    return is_fp32 and rows >= MIN_ROWS and rows * weight.numel() >= MIN_SIZE


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return output
