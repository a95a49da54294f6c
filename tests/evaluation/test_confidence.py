"""The confidence of captions as the report has it: by hand, on four images."""

from dataclasses import replace

import numpy as np
import pytest

from wordgaze.core.errors import ScoreError
from wordgaze.evaluation.confidence import COVERAGES, ConfidenceEvaluation
from wordgaze.generation.outputs import Caption

DOG, CAT = "a dog runs".split(), "a cat sleeps".split()
CAPTION = Caption((), -1.0, -1.0, (), np.zeros((0, 1, 1), np.float32), "end")
WORDS = [DOG, CAT, DOG, CAT]
CONFIDENCE = [0.9, 0.2, 0.6, 0.7]
CIDER = np.array([2.0, 0.0, 1.0, 0.4])


@pytest.fixture
def evaluation() -> ConfidenceEvaluation:
    """The images show dogs, so that the second and the fourth caption are wrong."""
    captions = [replace(CAPTION, words=tuple(w), confidence=p) for w, p in zip(WORDS, CONFIDENCE, strict=True)]
    return ConfidenceEvaluation(captions, [[DOG]] * 4, CIDER)


def test_the_confident_half_is_better_than_all(evaluation: ConfidenceEvaluation) -> None:
    scores = evaluation.scores()
    assert scores.cider == pytest.approx(0.85)
    assert scores.cider_half == pytest.approx(1.2)  # the first and the fourth
    assert scores.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert scores.aurc_oracle == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert scores.aurc_random == pytest.approx(0.5)
    assert scores.brier == pytest.approx((0.1**2 + 0.2**2 + 0.4**2 + 0.7**2) / 4)
    assert scores.ece == pytest.approx((0.1 + 0.2 + 0.4 + 0.7) / 4)


def test_the_curve_ends_with_all_images(evaluation: ConfidenceEvaluation) -> None:
    details = evaluation.details()
    assert [point.coverage for point in details.curve] == list(COVERAGES)
    half, whole = details.curve[9], details.curve[-1]
    assert (half.coverage, half.confidence, half.risk, half.oracle) == (0.5, 0.7, 0.5, 0)
    assert half.cider == pytest.approx(1.2)
    assert (whole.coverage, whole.confidence, whole.risk, whole.oracle) == (1, 0.2, 0.5, 0.5)
    assert details.curve[0].cider == 2.0  # one image at least
    assert [(bin.count, bin.accuracy) for bin in details.reliability] == [(1, 0), (1, 1), (1, 0), (1, 1)]


def test_without_images_there_is_no_score() -> None:
    with pytest.raises(ScoreError, match="no image has references"):
        ConfidenceEvaluation([], [], np.array([]))
