"""Dropout whose mask costs a quarter of PyTorch's on a CPU: 16 random bits an element instead of 64.

The plain twin is ``torch.nn.functional.dropout``.
"""

import torch
from torch import Tensor, nn

from wordgaze.models.kernels import use_fast

_VALUES = 2**16  # of the 16 random bits of an element


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """x, of which a share ``rate`` is set to zero and the rest is scaled so that the expectation stays the same.

    The share is rounded to a multiple of 1 / 65,536, and the scale is that of the rounded share.
    """
    kept = round((1 - rate) * _VALUES)
    if not training or not use_fast(x.device) or kept in (0, _VALUES):
        return nn.functional.dropout(x, rate, training)
    lowest = torch.iinfo(torch.int64).min
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(lowest, None).view(torch.int16)[: x.numel()]
    mask = (bits < kept - _VALUES // 2).view(x.shape).to(x.dtype)
    return x * mask.mul_(_VALUES / kept)
