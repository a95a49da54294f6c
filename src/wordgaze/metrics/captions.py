"""All scores of captions against one set of references."""

from collections.abc import Mapping, Sequence

import numpy as np

from wordgaze.metrics.base import Floats, Metric, Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies
from wordgaze.metrics.meteor import Meteor, is_meteor_available
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable
from wordgaze.metrics.rouge import RougeL

SCORES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider")
"""The names of all scores, in their order. ``meteor`` needs nltk."""


_CHUNK = 256
"""Images whose references are prepared at a time: with five references of eleven words 17 MB."""


class CaptionScores:
    """The scores named in ``SCORES`` as one metric, so that all of them are resampled and grouped alike.

    METEOR is left out where nltk is not installed, and for other languages than English, whose stems and function words
    it does not know. ``references[i]`` are all the references of image i. ``frequencies`` are those of CIDEr, by
    default of these references. Raises ScoreError if an image has no reference.
    """

    def __init__(
        self,
        references: Sequence[Sequence[Tokens]],
        is_english: bool = True,
        frequencies: DocumentFrequencies | None = None,
    ) -> None:
        refuse_unscorable(references)
        self._references, self._has_meteor = references, is_english and is_meteor_available()
        self._frequencies = frequencies or document_frequencies(references)
        self._formulas = self._metrics(references[:1])
        self.columns = sum(metric.columns for metric in self._formulas)

    def statistics(self, candidates: Sequence[Tokens]) -> Floats:
        """(N, K): the statistics of the metrics side by side."""
        return self.statistics_of({"": candidates})[""]

    def statistics_of(self, systems: Mapping[str, Sequence[Tokens]]) -> dict[str, Floats]:
        """As :meth:`statistics`, of several systems, by name: the references are prepared once, a few at a time."""
        count = len(self._references)
        for candidates in systems.values():
            refuse_misfit(candidates, count)
        found = {name: np.empty((count, self.columns)) for name in systems}
        for start in range(0, count, _CHUNK):
            part = slice(start, start + _CHUNK)
            metrics = self._metrics(self._references[part])
            for name, candidates in systems.items():
                some = candidates[part]
                found[name][part] = np.concatenate([metric.statistics(some) for metric in metrics], axis=1)
        return found

    def scores(self, totals: Floats) -> dict[str, Floats]:
        """totals (..., K) → ``bleu_1`` … ``bleu_4``, ``rouge_l``, ``meteor`` (...), 0…1, and ``cider`` (...), 0…10."""
        columns = [metric.columns for metric in self._formulas]
        parts = np.split(totals, np.cumsum(columns)[:-1], axis=-1)
        return {
            name: values
            for metric, part in zip(self._formulas, parts, strict=True)
            for name, values in metric.scores(part).items()
        }

    def _metrics(self, references: Sequence[Sequence[Tokens]]) -> tuple[Metric, ...]:
        meteor = (Meteor(references),) if self._has_meteor else ()
        return (Bleu(references), RougeL(references), *meteor, Cider(references, self._frequencies))


def score_captions(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    is_english: bool = True,
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, float]:
    """The scores over all images: ``bleu_1`` … ``bleu_4``, ``rouge_l`` and ``meteor`` in 0…1, ``cider`` in 0…10.

    ``meteor`` is absent where nltk is not installed, and unless ``is_english``. ``frequencies`` are those of CIDEr, by
    default of these references. Raises ScoreError unless there is one caption per image.
    """
    metric = CaptionScores(references, is_english, frequencies)
    return {name: float(score) for name, score in metric.scores(metric.statistics(candidates).sum(0)).items()}
