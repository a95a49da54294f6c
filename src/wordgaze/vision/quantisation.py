"""The formats in which features are stored: bf16, or eight bits with a scale for each image and channel.

The scale of a channel belongs to one image, so that a row depends on nothing but its image. int8 has equal steps, and
fp8 is ``torch.float8_e4m3fn``, whose steps grow with the value. Zero, as most values are after a ReLU, stays zero.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from wordgaze.config.params import FeatureDtype

_STORED = {"bf16": torch.bfloat16, "int8": torch.int8, "fp8": torch.float8_e4m3fn}
_GREATEST = {"int8": 127.0, "fp8": 448.0}
_LEAST_SCALE = 1e-30  # of a channel that is zero everywhere


def quantise(features: Tensor, dtype: FeatureDtype) -> dict[str, Tensor]:
    """The tensors that store features: ``features`` (N, L, D), and for eight bits ``scale`` (N, D) in bf16."""
    if dtype == "bf16":
        return {"features": features.to(torch.bfloat16)}
    images = [
        _quantised(image.float(), dtype) for image in features.unbind()
    ]  # all at once, fp32 takes 4 times as much
    rows, scales = zip(*images, strict=True)
    return {"features": torch.stack(rows), "scale": torch.stack(scales)}


def dequantise(stored: Mapping[str, Tensor]) -> Tensor:
    """The features (N, L, D) in bf16 of what :func:`quantise` returned."""
    features, scale = stored["features"], stored.get("scale")
    if scale is None:
        return features
    return (features.float() * scale.float().unsqueeze(1)).to(torch.bfloat16)


def stored_dtype(dtype: FeatureDtype) -> torch.dtype:
    """The dtype of the stored features."""
    return _STORED[dtype]


def _quantised(image: Tensor, dtype: FeatureDtype) -> tuple[Tensor, Tensor]:
    """The values (L, D) and the scale (D) of one image."""
    greatest = _GREATEST[dtype]
    scale = (image.abs().amax(0) / greatest).clamp(min=_LEAST_SCALE).to(torch.bfloat16)
    values = (image / scale.float()).clamp(-greatest, greatest)  # the scale was rounded, perhaps down
    return (values.round() if dtype == "int8" else values).to(_STORED[dtype]), scale
