"""Several systems on the same pictures: their scores, how sure they are, and what sets them apart."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.captions import CaptionScores
from wordgaze.metrics.diversity import distinct_n, mean_length, novelty, self_bleu, vocabulary_used
from wordgaze.metrics.intervals import bootstrap, by_group, difference

LENGTHS = ((0, 7), (8, 10), (11, 13), (14, 10**6))


class Comparison:
    """The captions of several systems, each a caption a picture, scored against the same references.

    Resampling is seeded; equal seeds draw equal pictures for all systems.
    """

    def __init__(
        self,
        systems: Mapping[str, Sequence[Tokens]],
        references: Sequence[Sequence[Tokens]],
        samples: int = 1000,
        seed: int = 0,
    ) -> None:
        self.systems, self.references, self.samples, self.seed = systems, references, samples, seed
        self.metric = CaptionScores(references)
        self.statistics: dict[str, Floats] = {n: self.metric.statistics(said) for n, said in systems.items()}

    def scores(self) -> dict[str, dict[str, float]]:
        """Each system's scores."""
        return {name: _plain(self.metric.scores(table.sum(0))) for name, table in self.statistics.items()}

    def intervals(self) -> dict[str, dict[str, list[float]]]:
        """The 95 % bootstrap interval of each system's scores."""
        return {
            name: {score: [i.low, i.high] for score, i in self._bootstrap(table).items()}
            for name, table in self.statistics.items()
        }

    def differences(self, base: str) -> dict[str, dict[str, dict[str, float]]]:
        """Every other system against ``base``, on the same resamples: value, low, high, p."""
        return {
            f"{name} against {base}": {
                score: asdict(found)
                for score, found in difference(
                    self.metric, table, self.statistics[base], self.samples, self.seed
                ).items()
            }
            for name, table in self.statistics.items()
            if name != base
        }

    def per_picture(self, system: str) -> dict[str, Floats]:
        """Each score of each picture, (N,)."""
        return self.metric.scores(self.statistics[system])

    def by_length(self, system: str) -> dict[str, dict[str, float]]:
        """The scores by the mean length of a picture's references, which are what it takes to tell it."""
        means = [sum(map(len, of_one)) / len(of_one) for of_one in self.references]
        return self.by(system, [_length_group(mean) for mean in means])

    def by(self, system: str, groups: Sequence[str]) -> dict[str, dict[str, float]]:
        """The scores of parts of the pictures, with the number of ``pictures``, in the order of their names."""
        found = by_group(self.metric, self.statistics[system], groups)
        return {name: {"pictures": groups.count(name), **found[name]} for name in sorted(found, key=_natural)}

    def _bootstrap(self, table: Floats) -> dict[str, Any]:
        return bootstrap(self.metric, table, self.samples, self.seed)


def diversity(captions: Sequence[Tokens], sets: Sequence[Sequence[Tokens]], train: Sequence[Tokens]) -> dict[str, Any]:
    """How varied captions are: one a picture, and where several were made the ``sets`` of all of a picture."""
    return {
        "distinct_1": distinct_n(captions, 1),
        "distinct_2": distinct_n(captions, 2),
        "vocabulary": vocabulary_used(captions),
        "mean_length": mean_length(captions),
        "novelty": novelty(captions, train) if train else None,
        "self_bleu": self_bleu(sets) if any(len(of_one) > 1 for of_one in sets) else None,
    }


def _plain(scores: Mapping[str, Floats]) -> dict[str, float]:
    return {name: float(score) for name, score in scores.items()}


def _length_group(mean: float) -> str:
    low, high = next((low, high) for low, high in LENGTHS if mean < high + 1)
    return f"{low or 1}–{high} words" if high < LENGTHS[-1][1] else f"{low} words and more"


def _natural(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", name)
    return (int(number[0]) if number else 0, name)
