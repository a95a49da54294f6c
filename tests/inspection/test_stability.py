import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.inspection.stability import bins_for, population_stability, quantile_bins, stability

counts = st.lists(st.integers(0, 1000), min_size=3, max_size=12)


@given(counts, counts)
def test_the_index_is_never_negative(reference: list[int], sample: list[int]) -> None:
    size = min(len(reference), len(sample))
    assert population_stability(np.array(reference[:size]), np.array(sample[:size])) >= 0


@given(counts, st.integers(1, 50))
def test_equal_distributions_have_the_index_0_whatever_their_sizes(reference: list[int], times: int) -> None:
    values = np.array(reference)
    assert population_stability(values, values * times) == pytest.approx(0, abs=1e-9)


@given(counts, counts)
def test_the_index_is_the_same_both_ways(reference: list[int], sample: list[int]) -> None:
    size = min(len(reference), len(sample))
    a, b = np.array(reference[:size]), np.array(sample[:size])
    assert population_stability(a, b) == pytest.approx(float(population_stability(b, a)))


def test_a_sample_of_the_same_kind_is_within_chance_and_a_shifted_one_is_not() -> None:
    generator = np.random.default_rng(1)
    reference, same = generator.normal(size=(500, 3)), generator.normal(size=(80, 3))
    shifted = same + np.array([0, 1.5, 0])
    bins = bins_for(80)
    binned = quantile_bins(reference, reference, bins)
    assert binned.sum() == 3 * 500
    found = stability(binned, quantile_bins(reference, same, bins), 3)
    assert found.psi <= found.by_chance < 0.5
    moved = stability(binned, quantile_bins(reference, shifted, bins), 3)
    assert moved.psi > max(0.5, 2 * moved.by_chance)
    assert moved.by_chance == found.by_chance


def test_a_sample_as_large_as_a_small_reference_is_rarely_drift_by_chance() -> None:
    """A hundred dev images, and a hundred like them: the reference differs from its source as much as the sample."""
    alarms = 0
    for seed in range(20):
        reference, same = np.random.default_rng(seed).normal(size=(2, 100, 9))
        bins = bins_for(100)
        found = stability(quantile_bins(reference, reference, bins), quantile_bins(reference, same, bins), 9)
        alarms += found.psi > found.by_chance
    assert alarms <= 1
