"""All scores of captions against one set of references."""

from collections.abc import Sequence

import numpy as np

from wordgaze.metrics.base import Floats, Metric, Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.meteor import Meteor
from wordgaze.metrics.rouge import RougeL

SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider")


class CaptionScores:
    """The scores named in ``SCORES`` as one metric, so that all of them are resampled and grouped alike.

    ``references[i]`` are all the references of picture i. Raises ScoreError if a picture has none.
    """

    def __init__(self, references: Sequence[Sequence[Tokens]]) -> None:
        self._metrics: tuple[Metric, ...] = (
            Bleu(references),
            RougeL(references),
            Meteor(references),
            Cider(references),
        )
        self.columns = sum(metric.columns for metric in self._metrics)

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, K): the statistics of the metrics side by side."""
        return np.concatenate([metric.statistics(candidates) for metric in self._metrics], axis=1)

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., K) → each score (...): 0…1, CIDEr 0…10."""
        parts = np.split(totals, np.cumsum([metric.columns for metric in self._metrics])[:-1], axis=-1)
        return {k: v for metric, part in zip(self._metrics, parts, strict=True) for k, v in metric.scores(part).items()}


def score_captions(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """The scores of all pictures: BLEU, ROUGE-L and METEOR 0…1, CIDEr 0…10. Raises ScoreError on a misfit."""
    metric = CaptionScores(references)
    return {name: float(score) for name, score in metric.scores(metric.statistics(candidates).sum(0)).items()}
