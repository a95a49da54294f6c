"""Compares systems on the same images: scores, confidence intervals, differences, and scores of parts of the images."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from wordgaze.evaluation.result_types import ConfidenceInterval
from wordgaze.evaluation.results import (
    Diversity,
    GroupScores,
    ScoreDifference,
    ScoreDifferences,
    ScoreIntervals,
    Scores,
    SystemComparison,
)
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.captions import CaptionScores
from wordgaze.metrics.diversity import distinct_n, mean_length, novelty, self_bleu, vocabulary_used
from wordgaze.metrics.document_frequencies import DocumentFrequencies
from wordgaze.metrics.intervals import Interval, bootstrap, by_group, difference

CIDER_DOCUMENT_FREQUENCIES = "evaluated references"
"""What the document frequencies of CIDEr are counted in, for a report."""

LENGTHS = ((0, 7), (8, 10), (11, 13), (14, 10**6))  # words, both ends inclusive


class Comparison:
    """The captions of several systems, one caption per image, scored against the same references.

    ``references[i]`` are all the references of image i. The images are resampled ``num_resamples`` times; ``seed``
    draws the same resamples for all systems. METEOR is left out unless ``is_english``. ``frequencies`` are those of
    CIDEr, by default of the references. Raises ScoreError if an image has no reference, or a system has another number
    of captions.
    """

    def __init__(
        self,
        systems: Mapping[str, Sequence[Tokens]],
        references: Sequence[Sequence[Tokens]],
        num_resamples: int = 1000,
        seed: int = 0,
        is_english: bool = True,
        frequencies: DocumentFrequencies | None = None,
    ) -> None:
        self.systems, self.references, self.num_resamples, self.seed = systems, references, num_resamples, seed
        self._metric = CaptionScores(references, is_english, frequencies)
        self._statistics = self._metric.statistics_of(systems)

    def scores(self) -> dict[str, Scores]:
        """The scores of each system."""
        return {
            name: Scores.model_validate({score: float(value) for score, value in totals.items()})
            for name, statistics in self._statistics.items()
            for totals in [self._metric.scores(statistics.sum(0))]
        }

    def intervals(self) -> dict[str, ScoreIntervals]:
        """The 95 % bootstrap intervals of each system's scores."""
        return {
            name: ScoreIntervals.model_validate(
                confidence_intervals(bootstrap(self._metric, statistics, self.num_resamples, self.seed))
            )
            for name, statistics in self._statistics.items()
        }

    def differences(self, base: str, systems: Sequence[str]) -> tuple[SystemComparison, ...]:
        """Each of ``systems`` but ``base`` against ``base``, on the same resamples of the images."""
        return tuple(
            SystemComparison(system=name, base=base, differences=self._difference(name, base))
            for name in systems
            if name != base
        )

    def per_image(self, system: str) -> dict[str, Floats]:
        """Each score of each image, (N,)."""
        return self._metric.scores(self._statistics[system])

    def by_length(self, system: str) -> tuple[GroupScores, ...]:
        """The scores by the mean number of words of an image's references."""
        means = [sum(map(len, references)) / len(references) for references in self.references]
        return self.by_group(system, [_length_group(mean) for mean in means])

    def by_group(self, system: str, groups: Sequence[str]) -> tuple[GroupScores, ...]:
        """The scores of parts of the images; ``groups[i]`` names the part of image i.

        Parts are in the order of the numbers that their names begin with.
        """
        scores = by_group(self._metric, self._statistics[system], groups)
        return tuple(
            GroupScores(name=name, num_images=groups.count(name), scores=Scores.model_validate(scores[name]))
            for name in sorted(scores, key=_natural)
        )

    def _difference(self, system: str, base: str) -> ScoreDifferences:
        ours, theirs = self._statistics[system], self._statistics[base]
        differences = difference(self._metric, ours, theirs, self.num_resamples, self.seed)
        return ScoreDifferences.model_validate(
            {score: ScoreDifference.model_validate(asdict(value)) for score, value in differences.items()}
        )


def confidence_intervals(intervals: Mapping[str, Interval]) -> dict[str, ConfidenceInterval]:
    """Bootstrap intervals as typed results."""
    return {name: ConfidenceInterval(low=interval.low, high=interval.high) for name, interval in intervals.items()}


def diversity(candidates: Sequence[Sequence[Tokens]], train: Sequence[Tokens]) -> Diversity:
    """How varied captions are: the first of each image's ``candidates``, and for Self-BLEU all of them.

    ``novelty`` is None without training captions, ``self_bleu`` where no image has two candidates.
    """
    captions = [of_image[0] for of_image in candidates]
    return Diversity(
        distinct_1=distinct_n(captions, 1),
        distinct_2=distinct_n(captions, 2),
        vocabulary_size=vocabulary_used(captions),
        mean_length=mean_length(captions),
        novelty=novelty(captions, train) if train else None,
        self_bleu=self_bleu(candidates),
    )


def _length_group(mean: float) -> str:
    low, high = next((low, high) for low, high in LENGTHS if mean < high + 1)
    return f"{low or 1}–{high} words" if high < LENGTHS[-1][1] else f"{low} words and more"


def _natural(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", name)
    return (int(number[0]) if number else 0, name)
