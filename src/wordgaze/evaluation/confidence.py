"""Evaluates the confidence of captions: calibration, and the scores of the most confident captions."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict

import numpy as np

from wordgaze.evaluation.results import CaptionConfidence, ConfidenceDetails, CoveragePoint, ReliabilityBin
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.calibration import brier, captions_right, expected_calibration_error, reliability
from wordgaze.metrics.selective import aurc, best_aurc, selective_means
from wordgaze.text.function_words import FUNCTION_WORDS

COVERAGES = tuple(step / 20 for step in range(1, 21))
"""The points of the risk–coverage curve that are reported."""


class ConfidenceEvaluation:
    """Evaluates the captions of N images, each with its confidence, against their references.

    ``cider`` (N,) are the captions' scores. Raises ScoreError if there are no images.
    """

    def __init__(
        self,
        captions: Sequence[Caption],
        references: Sequence[Sequence[Tokens]],
        cider: Floats,
        function_words: Collection[str] = FUNCTION_WORDS,
    ) -> None:
        self.confidence = np.array([caption.confidence for caption in captions], np.float64)
        self.right = np.array(captions_right([caption.words for caption in captions], references, function_words))
        self.cider = cider

    def scores(self) -> CaptionConfidence:
        """The scores for the report."""
        loss = 1.0 - self.right
        return CaptionConfidence(
            ece=expected_calibration_error(self.confidence, self.right),
            brier=brier(self.confidence, self.right),
            aurc=aurc(self.confidence, loss),
            aurc_random=float(loss.mean()),
            aurc_oracle=best_aurc(loss),
            cider=float(self.cider.mean()),
            cider_half=float(selective_means(self.confidence, self.cider)[self._number(0.5) - 1]),
        )

    def details(self) -> ConfidenceDetails:
        """The risk–coverage curve and the reliability."""
        loss = 1.0 - self.right
        risk, cider = selective_means(self.confidence, loss), selective_means(self.confidence, self.cider)
        oracle, ordered = selective_means(-loss, loss), np.sort(self.confidence)[::-1]
        bins = reliability(self.confidence, self.right)
        return ConfidenceDetails(
            curve=tuple(
                CoveragePoint(
                    coverage=coverage,
                    confidence=float(ordered[n]),
                    risk=float(risk[n]),
                    oracle=float(oracle[n]),
                    cider=float(cider[n]),
                )
                for coverage in COVERAGES
                for n in [self._number(coverage) - 1]
            ),
            reliability=tuple(ReliabilityBin.model_validate(asdict(one)) for one in bins),
        )

    def _number(self, coverage: float) -> int:
        """The number of images at a coverage, at least 1."""
        return max(1, math.ceil(round(coverage * len(self.cider), 6)))
