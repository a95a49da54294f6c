"""Calibration by hand, and of a captioner that knows exactly how sure it may be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.calibration import (
    Bin,
    brier,
    captions_right,
    expected_calibration_error,
    platt_scaling,
    reliability,
    words_right,
)

WORDS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def test_a_word_is_right_if_any_reference_has_it() -> None:
    captions = ["a dog dog runs".split(), [], ["cat"]]
    references = [["a brown dog".split(), "it runs".split()], [["a"]], [["dog"]]]
    assert words_right(captions, references) == [[True, True, True, True], [], [False]]
    assert words_right([["a"]], [[[]]]) == [[False]]


def test_the_curve_by_hand() -> None:
    curve = reliability([0.1, 0.2, 0.9, 0.7], [False, True, True, True], bins=2)
    assert curve == [
        Bin(0.0, 0.5, 2, pytest.approx(0.15), 0.5),
        Bin(0.5, 1.0, 2, pytest.approx(0.8), 1.0),
    ]


def test_a_probability_on_an_edge_belongs_to_the_bin_below_and_empty_bins_are_left_out() -> None:
    curve = reliability([0.0, 0.25, 1.0], [0, 0, 1], bins=4)
    assert [(part.low, part.high, part.count) for part in curve] == [(0, 0.25, 2), (0.75, 1, 1)]


def test_the_error_by_hand() -> None:
    probabilities, right = [0.1, 0.2, 0.9, 0.7, 0.8], [False, True, True, True, False]
    # Half to a half: two words of 0.15 with 0.5 right; three of 0.8 with 2/3 right.
    assert expected_calibration_error(probabilities, right, bins=2) == pytest.approx((2 * 0.35 + 3 * (0.8 - 2 / 3)) / 5)
    assert brier(probabilities, right) == pytest.approx((0.01 + 0.64 + 0.01 + 0.09 + 0.64) / 5)


def test_a_perfectly_calibrated_model_errs_by_chance_alone() -> None:
    generator = np.random.default_rng(1)
    p = generator.random(50_000)
    right = generator.random(50_000) < p
    assert expected_calibration_error(p, right) < 0.01
    assert expected_calibration_error(np.sqrt(p), right) > 0.1  # overconfident
    assert brier(p, right) < brier(np.sqrt(p), right)


@given(WORDS, st.integers(1, 12))
def test_counts_add_up_and_errors_stay_between_0_and_1(words: list[tuple[float, bool]], bins: int) -> None:
    p, right = [word[0] for word in words], [word[1] for word in words]
    curve = reliability(p, right, bins)
    assert sum(part.count for part in curve) == len(words)
    assert sum(part.count * part.accuracy for part in curve) == pytest.approx(sum(right))
    assert all(part.low - 1e-12 <= part.confidence <= part.high + 1e-12 for part in curve)
    assert abs(np.mean(p) - np.mean(right)) - 1e-9 <= expected_calibration_error(p, right, bins) <= 1
    assert 0 <= brier(p, right) <= 1


def test_sure_and_right_is_no_error() -> None:
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert brier([1.0, 0.0], [True, False]) == 0


def test_rounding_above_1_is_forgiven() -> None:
    assert brier([1.0000001], [True]) == 0


@pytest.mark.parametrize(
    ("probabilities", "right", "message"),
    [
        ([], [], "no words"),
        ([0.5], [True, False], r"shape \(1,\) for words of shape \(2,\)"),
        ([[0.5]], [[True]], r"shape \(1, 1\)"),
        ([0.5, math.nan], [True, True], "nan is not a valid probability"),
        ([-0.5], [True], "exponentiate log-probabilities"),
        ([1.1], [True], r"1\.1 is not a valid probability"),
        ([0.5], [0.5], "True or False"),
        ([0.5], [math.nan], "True or False"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: list[float], right: list[bool], message: str) -> None:
    for function in (reliability, expected_calibration_error, brier):
        with pytest.raises(ScoreError, match=message):
            function(probabilities, right)


def test_a_caption_is_right_if_half_of_its_content_words_are() -> None:
    references = [["a dog runs".split(), "it is brown".split()]]
    for caption, right in (
        ("a brown dog runs", True),
        ("a brown cat", True),
        ("a brown brown cat sleeps", False),  # one of three different words
        ("a the of", False),
        ("", False),
    ):
        assert captions_right([caption.split()], references) == [right], caption


ESTIMATES = st.lists(st.tuples(st.floats(-10, 10), st.booleans()), min_size=1, max_size=40)


@given(ESTIMATES)
def test_scaled_estimates_are_monotone_and_have_the_mean_of_the_targets(pairs: list[tuple[float, bool]]) -> None:
    estimates, right = np.array([x for x, _ in pairs]), np.array([hit for _, hit in pairs])
    slope, intercept = platt_scaling(estimates, right)
    assert slope >= 0 and math.isfinite(slope) and math.isfinite(intercept)
    probabilities = 1 / (1 + np.exp(-(slope * estimates + intercept)))
    targets = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    assert probabilities.mean() == pytest.approx(targets.mean(), abs=1e-3)  # the condition of the maximum


def test_scaled_estimates_are_those_of_a_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    estimates = random.normal(3, 0.1, 5000)
    right = random.random(5000) < 1 / (1 + np.exp(-(20 * estimates - 59)))
    other = linear_model.LogisticRegression(C=1e9).fit(estimates[:, None], right)
    expected = [other.coef_[0, 0], other.intercept_[0]]  # without Platt's targets
    assert list(platt_scaling(estimates, right)) == pytest.approx(expected, rel=0.02)
    assert platt_scaling(-estimates, right) == (
        0.0,
        pytest.approx(math.log(right.mean() / (1 - right.mean())), abs=0.01),
    )


def test_outcomes_that_do_not_fit_the_estimates_are_refused() -> None:
    with pytest.raises(ScoreError, match=r"shape \(1,\) for outcomes of shape \(2,\)"):
        platt_scaling([0.5], [True, False])
    with pytest.raises(ScoreError, match="give one outcome for each"):
        platt_scaling([], [])


def test_misfits_are_refused() -> None:
    with pytest.raises(ScoreError, match="0 bins"):
        reliability([0.5], [True], bins=0)
    with pytest.raises(ScoreError, match="1 captions for 2 images"):
        words_right([["a"]], [[["a"]], [["b"]]])
    with pytest.raises(ScoreError, match="image number 0 has no reference"):
        words_right([["a"]], [[]])
