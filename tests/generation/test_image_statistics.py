"""What is stored of the training images tells images of another kind, and images no different."""

import pytest
import torch

from wordgaze.generation import image_statistics
from wordgaze.generation.image_statistics import ImageStatistics, embed_means


def low_rank(number: int, seed: int, rank: int = 3, channels: int = 40) -> torch.Tensor:
    """Mean features of images that differ in ``rank`` directions."""
    directions = torch.randn(rank, channels, generator=torch.Generator().manual_seed(1))
    return torch.randn(number, rank, generator=torch.Generator().manual_seed(seed)) @ directions


def test_what_the_components_do_not_reconstruct_is_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_statistics, "MAX_COMPONENTS", 3)
    statistics = ImageStatistics.fit(low_rank(200, 2))
    coordinates, distances = statistics.project(low_rank(50, 3))
    assert coordinates.shape == (50, 3)
    assert distances.max() < 0.25 < 0.5 < statistics.project(torch.randn(50, 40))[1].min()
    vectors = embed_means(low_rank(50, 3), statistics.mean, statistics.scale) - statistics.centre
    total = coordinates.square().sum(1) + distances.square()
    torch.testing.assert_close(total, vectors.square().sum(1), rtol=1e-2, atol=1e-3)  # Pythagoras, in half precision


def test_the_components_are_the_directions_of_the_greatest_variance() -> None:
    means = low_rank(300, 4, rank=40) * torch.linspace(3, 0.1, 40)
    statistics = ImageStatistics.fit(means)
    vectors = embed_means(means, statistics.mean, statistics.scale) - statistics.centre
    exact = torch.linalg.svdvals(vectors)[: len(statistics.components)]
    assert len(exact) == 20  # half of the channels
    captured = statistics.project(means)[0].square().sum()
    assert captured == pytest.approx(float(exact.square().sum()), rel=0.01)


@pytest.mark.parametrize(("number", "channels", "components"), [(1, 40, 1), (8, 40, 8), (50, 1, 1)])
def test_few_images_or_channels_have_few_components(number: int, channels: int, components: int) -> None:
    statistics = ImageStatistics.fit(torch.randn(number, channels))
    assert statistics.components.shape == (components, channels)
    assert torch.isfinite(torch.cat([part.flatten() for part in statistics.project(torch.randn(3, channels))])).all()
