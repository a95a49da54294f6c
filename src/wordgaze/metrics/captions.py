"""All scores of captions against one set of references."""

from collections.abc import Sequence

import numpy as np

from wordgaze.metrics.base import Floats, Metric, Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.meteor import Meteor, is_meteor_available
from wordgaze.metrics.rouge import RougeL

SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider")
"""The names of all scores, in their order. ``meteor`` needs nltk."""


class CaptionScores:
    """The scores named in ``SCORES`` as one metric, so that all of them are resampled and grouped alike.

    METEOR is left out where nltk is not installed, and for other languages than English, whose stems and function words
    it does not know. ``references[i]`` are all the references of image i. Raises ScoreError if an image has no
    reference.
    """

    def __init__(self, references: Sequence[Sequence[Tokens]], is_english: bool = True) -> None:
        meteor: tuple[Metric, ...] = (Meteor(references),) if is_english and is_meteor_available() else ()
        self._metrics: tuple[Metric, ...] = (Bleu(references), RougeL(references), *meteor, Cider(references))
        self.columns = sum(metric.columns for metric in self._metrics)

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, K): the statistics of the metrics side by side."""
        return np.concatenate([metric.statistics(candidates) for metric in self._metrics], axis=1)

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., K) → ``bleu_1`` … ``bleu_4``, ``rouge_l``, ``meteor`` (...), 0…1, and ``cider`` (...), 0…10."""
        parts = np.split(totals, np.cumsum([metric.columns for metric in self._metrics])[:-1], axis=-1)
        return {k: v for metric, part in zip(self._metrics, parts, strict=True) for k, v in metric.scores(part).items()}


def score_captions(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], is_english: bool = True
) -> dict[str, float]:
    """The scores over all images: ``bleu_1`` … ``bleu_4``, ``rouge_l`` and ``meteor`` in 0…1, ``cider`` in 0…10.

    ``meteor`` is absent where nltk is not installed, and unless ``is_english``. Raises ScoreError unless there is one
    caption per image.
    """
    metric = CaptionScores(references, is_english)
    return {name: float(score) for name, score in metric.scores(metric.statistics(candidates).sum(0)).items()}
