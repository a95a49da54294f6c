"""Intervals that hold the truth as often as they say, and differences that know when there is none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ScoreError
from wordgaze.metrics import intervals
from wordgaze.metrics.base import Floats
from wordgaze.metrics.intervals import (
    Difference,
    Interval,
    Spread,
    bootstrap,
    by_group,
    difference,
    spread,
)
from wordgaze.metrics.meteor import Meteor

VALUES = st.lists(st.floats(-10, 10), min_size=2, max_size=30)


class Mean:
    """A metric whose score is the mean of what pictures give; its standard error is known."""

    def statistics(self, candidates: object) -> Floats:
        raise NotImplementedError

    def scores(self, totals: Floats) -> dict[str, Floats]:
        return {"mean": np.asarray(totals[..., 0] / totals[..., 1])}


def rows(values: object) -> Floats:
    column = np.asarray(values, np.float64)
    return np.stack([column, np.ones_like(column)], axis=1)


def test_as_wide_as_the_standard_error_generates() -> None:
    values = np.random.default_rng(1).normal(5, 2, size=400)
    found = bootstrap(Mean(), rows(values), samples=2000, seed=3)["mean"]
    error = values.std(ddof=1) / math.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert (found.high + found.low) / 2 == pytest.approx(values.mean(), abs=0.2 * error)


def test_holds_the_truth_in_about_95_of_100_samples() -> None:
    generator = np.random.default_rng(2)
    found = [
        bootstrap(Mean(), rows(generator.exponential(1, size=80)), samples=200, seed=i)["mean"] for i in range(200)
    ]
    share = np.mean([interval.low <= 1 <= interval.high for interval in found])
    assert 0.88 <= share <= 0.98


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(3)
    hard = generator.normal(0, 5, size=300)  # what makes a picture hard is hard for both
    ours, theirs = rows(hard + generator.normal(0.3, 1, 300)), rows(hard + generator.normal(0, 1, 300))
    paired = difference(Mean(), ours, theirs)["mean"]
    alone = [bootstrap(Mean(), system, seed=seed)["mean"] for seed, system in enumerate((ours, theirs))]
    assert paired.high - paired.low < 0.5 * min(one.high - one.low for one in alone)
    assert paired.low > 0
    assert paired.p < 0.05


def test_a_system_does_not_differ_from_itself() -> None:
    one = rows(np.random.default_rng(4).normal(size=50))
    assert difference(Mean(), one, one, samples=50) == {"mean": Difference(0.0, 0.0, 0.0, 1.0)}


def test_p_is_small_but_never_zero() -> None:
    low, high = rows(np.arange(50)), rows(np.arange(50) + 1)
    assert difference(Mean(), high, low, samples=99)["mean"] == Difference(1.0, 1.0, 1.0, pytest.approx(0.02))


def test_p_is_not_small_too_often_where_nothing_differs() -> None:
    generator = np.random.default_rng(5)
    pairs = [(rows(generator.normal(size=40)), rows(generator.normal(size=40))) for _ in range(200)]
    assert np.mean([difference(Mean(), a, b, 100)["mean"].p <= 0.05 for a, b in pairs]) < 0.11


@given(VALUES, st.integers(0, 5))
def test_the_seed_decides_all_and_the_order_of_systems_only_the_sign(values: list[float], seed: int) -> None:
    ours, theirs = rows(values), rows(values[::-1])
    assert bootstrap(Mean(), ours, 30, seed) == bootstrap(Mean(), ours, 30, seed)
    there, back = (difference(Mean(), a, b, 30, seed)["mean"] for a, b in ((ours, theirs), (theirs, ours)))
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert there.p == back.p
    assert 0 < there.p <= 1


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_an_interval_lies_within_what_pictures_give(values: list[float]) -> None:
    found = bootstrap(Mean(), rows(values), samples=20)["mean"]
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_another_seed_gives_other_resamples_and_more_of_them_start_with_the_same() -> None:
    one = rows(np.random.default_rng(6).normal(size=50))
    assert bootstrap(Mean(), one, seed=0) != bootstrap(Mean(), one, seed=1)
    assert bootstrap(Mean(), one, samples=1)["mean"].low == bootstrap(Mean(), one, samples=1)["mean"].high


def test_a_corpus_score_has_an_interval_too() -> None:
    references = [[["a", "dog", "runs"]], [["two", "kids", "play"]], [["a", "man"]]] * 10
    meteor = Meteor(references)
    found = bootstrap(meteor, meteor.statistics([["a", "dog", "runs"], ["kids"], ["a", "bike"]] * 10))["meteor"]
    assert isinstance(found, Interval)
    assert 0 < found.low < found.value < found.high < 1


def test_groups_are_scored_apart_and_in_order() -> None:
    parts = by_group(Mean(), rows([1, 2, 3, 10]), [7, 7, 5, 5])
    assert parts == {5: {"mean": 6.5}, 7: {"mean": 1.5}}
    assert list(parts) == [5, 7]
    assert by_group(Mean(), rows([1, 2]), ["short", "long"]) == {"long": {"mean": 2}, "short": {"mean": 1}}


def test_spread_over_seeds() -> None:
    assert spread([1, 2, 3]) == Spread(2.0, 1.0)
    assert spread([4]) == Spread(4.0, None)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_no_spread_of_what_is_no_number(values: list[float]) -> None:
    with pytest.raises(ScoreError, match="one finite number per seed"):
        spread(values)


def test_unusable_statistics_are_refused() -> None:
    good = rows([1.0, 2.0])
    with pytest.raises(ScoreError, match="at least one"):
        bootstrap(Mean(), rows([]))
    with pytest.raises(ScoreError, match="one row per image"):
        bootstrap(Mean(), np.ones(3))
    with pytest.raises(ScoreError, match="image number 1 are NaN"):
        bootstrap(Mean(), rows([1.0, math.nan]))
    with pytest.raises(ScoreError, match="0 resamples"):
        bootstrap(Mean(), good, samples=0)
    with pytest.raises(ScoreError, match="same images"):
        difference(Mean(), good, rows([1.0]))
    with pytest.raises(ScoreError, match="1 groups for 2 images"):
        by_group(Mean(), good, [1])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_resamples_without_the_score_are_left_out() -> None:
    some = bootstrap(Mean(), np.array([[0.0, 0.0], [1.0, 1.0]]), samples=50)["mean"]
    assert (some.value, some.low, some.high) == (1.0, 1.0, 1.0)
    none = bootstrap(Mean(), np.array([[0.0, 0.0], [0.0, 0.0]]), samples=50)["mean"]
    assert np.isnan([none.value, none.low, none.high]).all()


def test_resamples_of_many_images_are_drawn_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(intervals._resamples(30, 50, 1)))
    monkeypatch.setattr(intervals, "_CELLS", 200)
    parts = list(intervals._resamples(30, 50, 1))
    assert len(parts[0]) == 6
    assert (np.concatenate(parts) == whole).all()
