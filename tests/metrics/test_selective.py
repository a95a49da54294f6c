"""The captions that a captioner is most confident of: curves by hand, and the area under ROC against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Floats
from wordgaze.metrics.selective import aurc, auroc, best_aurc, selective_means

PAIRS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float64, n, elements=st.integers(0, 5).map(float)),
        arrays.arrays(np.float64, n, elements=st.integers(0, 8).map(float)),
    )
)
"""Confidences with ties, and losses."""


def test_the_risk_of_the_surest_by_hand() -> None:
    assert selective_means([0.9, 0.1, 0.5], [0, 3, 1.5]).tolist() == [0, 0.75, 1.5]
    assert aurc([0.9, 0.1, 0.5], [0, 3, 1.5]) == pytest.approx(0.75)
    assert best_aurc([3, 0, 1.5]) == pytest.approx(0.75)
    assert aurc([0.1, 0.9, 0.5], [0, 3, 1.5]) == pytest.approx((3 + 2.25 + 1.5) / 3)


def test_of_equal_confidences_none_comes_first() -> None:
    assert selective_means([0.5, 0.5, 0.5], [0, 3, 6]).tolist() == [3, 3, 3]
    assert selective_means([0.2, 0.7, 0.7], [9, 1, 3]).tolist() == [2, 2, pytest.approx(13 / 3)]


@given(PAIRS, st.randoms())
def test_the_order_of_the_images_does_not_matter(pair: tuple[Floats, Floats], random: object) -> None:
    confidence, losses = pair
    order = list(range(len(losses)))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        selective_means(confidence, losses), selective_means(confidence[order], losses[order]), atol=1e-12
    )


@given(PAIRS)
def test_no_order_is_better_than_the_oracle_and_all_images_have_the_mean(pair: tuple[Floats, Floats]) -> None:
    confidence, losses = pair
    curve = selective_means(confidence, losses)
    assert curve[-1] == pytest.approx(losses.mean())
    assert best_aurc(losses) <= aurc(confidence, losses) + 1e-12
    assert aurc(confidence, losses) <= aurc(losses, losses) + 1e-12
    assert aurc(np.zeros_like(losses), losses) == pytest.approx(losses.mean())
    np.testing.assert_allclose(selective_means(2 * confidence - 7, losses), curve)


def test_auroc_by_hand() -> None:
    assert auroc([1, 2, 3], [4, 5]) == 1
    assert auroc([4, 5], [1, 2, 3]) == 0
    assert auroc([1, 3], [2, 3]) == pytest.approx((1 + 0 + 1 + 0.5) / 4)


@given(PAIRS)
def test_auroc_is_that_of_scikit_learn(pair: tuple[Floats, Floats]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    negative, positive = pair
    labels = [0] * len(negative) + [1] * len(positive)
    assert auroc(negative, positive) == pytest.approx(metrics.roc_auc_score(labels, np.concatenate(pair)))
    assert auroc(positive, negative) == pytest.approx(1 - auroc(negative, positive))


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ScoreError, match="2 confidences for 1 images"):
        selective_means([0.1, 0.2], [1])
    with pytest.raises(ScoreError, match=r"`confidence` has shape \(0,\)"):
        aurc([], [])
    with pytest.raises(ScoreError, match="`values` has a value that is not finite"):
        aurc([0.5], [np.nan])
    with pytest.raises(ScoreError, match=r"`positive` has shape \(0,\)"):
        auroc([1.0], [])
