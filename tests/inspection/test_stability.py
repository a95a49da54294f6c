import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.inspection.stability import Stability, bins_for, population_stability, quantile_bins, stability
from wordgaze.metrics.base import Floats

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


def found(reference: Floats, sample: Floats) -> Stability:
    binned = quantile_bins(np.concatenate([reference, sample]), bins_for(len(sample)))
    return stability(binned[: len(reference)], binned[len(reference) :], reference.shape[1])


def test_a_sample_of_the_same_kind_is_within_chance_and_a_shifted_one_is_not() -> None:
    generator = np.random.default_rng(1)
    reference, same = generator.normal(size=(500, 3)), generator.normal(size=(80, 3))
    stable, moved = found(reference, same), found(reference, same + np.array([0, 1.5, 0]))
    assert stable.psi <= stable.by_chance < 0.5
    assert moved.psi > max(0.5, 2 * moved.by_chance)


def test_every_value_is_in_one_bin() -> None:
    binned = quantile_bins(np.random.default_rng(1).normal(size=(500, 3)), 8)
    assert binned.shape == (500, 24)
    assert (binned.reshape(500, 3, 8).sum(2) == 1).all()
    assert quantile_bins(np.ones((30, 1)), 2).sum() == 30


def test_a_sample_as_large_as_a_small_reference_is_rarely_drift_by_chance() -> None:
    """A hundred dev images, and a hundred like them: the reference differs from its source as much as the sample."""
    pairs = [np.random.default_rng(seed).normal(size=(2, 100, 9)) for seed in range(20)]
    stabilities = [found(reference, same) for reference, same in pairs]
    assert sum(each.psi > each.by_chance for each in stabilities) <= 1
