"""Features in eight bits are near those in bf16, and depend on their image alone."""

import pytest
import torch

from wordgaze.config.params import FeatureDtype
from wordgaze.vision.quantisation import dequantise, quantise, stored_dtype

ERRORS: dict[FeatureDtype, float] = {"bf16": 0.0, "int8": 0.008, "fp8": 0.03}


def features(seed: int) -> torch.Tensor:
    """(5, 9, 16), half of the values zero, each channel in a range of its own."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 9, 16, generator=generator).relu() * torch.logspace(-3, 3, 16)
    return values.to(torch.bfloat16)


@pytest.mark.parametrize(("dtype", "error"), ERRORS.items())
def test_the_stored_features_are_near_in_every_channel(dtype: FeatureDtype, error: float) -> None:
    original = features(1)
    stored = quantise(original, dtype)
    assert stored["features"].dtype == stored_dtype(dtype)
    restored = dequantise(stored)
    assert (restored.dtype, restored.shape) == (torch.bfloat16, original.shape)
    assert bool((restored[original == 0] == 0).all())
    difference = (restored - original).float().flatten(0, 1).norm(dim=0) / original.float().flatten(0, 1).norm(dim=0)
    assert float(difference.max()) <= error


@pytest.mark.parametrize("dtype", ["int8", "fp8"])
def test_the_other_images_of_a_shard_do_not_matter(dtype: FeatureDtype) -> None:
    many = quantise(features(1), dtype)
    for row, alone in enumerate(quantise(image[None], dtype) for image in features(1)):
        assert all(torch.equal(many[name][row].float(), alone[name][0].float()) for name in many)


@pytest.mark.parametrize("dtype", ["int8", "fp8"])
def test_features_that_are_not_finite_stay_so(dtype: FeatureDtype) -> None:
    original = features(1)
    original[2, 3, 4] = torch.inf
    finite = dequantise(quantise(original, dtype)).isfinite().flatten(1).all(1)
    assert finite.tolist() == [True, True, False, True, True]
