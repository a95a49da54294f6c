"""An evaluation: from the captions of a split to the numbers and the examples of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Box, Split
from wordgaze.evaluation.comparison import Comparison, diversity
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.baselines import (
    constant_caption,
    fewer_references,
    human_scores,
    nearest_captions,
    pooled,
    random_captions,
)
from wordgaze.metrics.calibration import brier, expected_calibration_error, reliability, words_right
from wordgaze.metrics.failures import failures
from wordgaze.metrics.grounding import Boxed, Grounding
from wordgaze.metrics.hallucination import Chair
from wordgaze.metrics.intervals import bootstrap
from wordgaze.text.objects import Lexicon, coco_lexicon
from wordgaze.vision.feature_store import FeatureStore

NEAREST = 10  # training pictures whose captions the nearest-neighbour caption is chosen from
BASELINES = ("constant", "random", "nearest")


@dataclass(frozen=True)
class Evaluation:
    """The captions ``found`` by each strategy, several a picture, best first; ``strategy`` is the one that counts.

    ``boxes`` are the pictures' objects and sizes where the data set knows them, else empty; ``objects`` the nouns that
    its boxes have anywhere.
    """

    prepared: Prepared
    split: Split
    store: FeatureStore
    found: Mapping[str, Sequence[Sequence[Caption]]]
    strategy: str
    boxes: Sequence[Boxed]
    objects: frozenset[str]
    samples: int
    seed: int

    @cached_property
    def images(self) -> list[str]:
        """The pictures of the split."""
        return self.prepared.references(self.split)[0]

    @cached_property
    def references(self) -> list[list[list[str]]]:
        """All captions of each picture, as tokens."""
        return self.prepared.references(self.split)[1]

    @cached_property
    def best(self) -> list[Caption]:
        """Each picture's best caption."""
        return [of_one[0] for of_one in self.found[self.strategy]]

    @cached_property
    def comparison(self) -> Comparison:
        """The strategies and what needs no understanding of the picture, on the same pictures."""
        said = {name: [of_one[0].words for of_one in captions] for name, captions in self.found.items()}
        return Comparison({**said, **self._baselines}, self.references, self.samples, self.seed)

    def headline(self) -> dict[str, Any]:
        """What stands in ``evaluation.json``: the scores of the strategies and of what they are compared with."""
        scores = self.comparison.scores()
        constant = " ".join(self._baselines["constant"][0])
        baselines: dict[str, Any] = {name: scores[name] for name in BASELINES}
        baselines["constant"] = {"caption": constant, **scores["constant"]}
        people = human_scores(self.references)
        if people is not None:  # else every picture has a single caption, and there is nobody to compare with
            baselines["human"] = people
            baselines[f"{self.strategy}, one reference fewer"] = fewer_references(self._words, self.references)
        return {
            "decoding": {name: scores[name] for name in self.found},
            "baselines": baselines,
            "grounding": self._grounding.scores if self._grounding else None,
            "hallucination": self._scores_of(self._chair.statistics(self._words)),
            "calibration": self._calibration(),
        }

    def details(self) -> dict[str, Any]:
        """What stands in ``details.json``: how sure the scores are, and the scores of parts."""
        comparison, strategy = self.comparison, self.strategy
        base = "greedy" if strategy != "greedy" else "beam"
        differences = comparison.differences(base)
        return {
            "intervals": comparison.intervals(),
            "differences": {
                name: found for name, found in differences.items() if name.split(" against ")[0] in self.found
            },
            "by_length": comparison.by_length(strategy),
            "by_objects": comparison.by(strategy, self._object_counts) if self.boxes else None,
            "grounding": self._grounding_details(),
            "calibration": [asdict(b) for b in reliability(*self._confidence)] if self._confidence[0] else [],
            "diversity_penalty": {
                name: diversity(
                    [of_one[0].words for of_one in captions],
                    [[caption.words for caption in of_one] for of_one in captions],
                    self._train,
                )
                for name, captions in self.found.items()
            },
            "failures": {kind: len(places) for kind, places in self.failures.items()},
        }

    @cached_property
    def failures(self) -> dict[str, list[int]]:
        """The places of the captions that fail, by kind."""
        wrong = self._chair.statistics(self._words)[:, 1] > 0
        return failures(self._words, [caption.finish_reason != "end" for caption in self.best], wrong.tolist())

    def examples(self, count: int) -> list[tuple[str, int]]:
        """What is worth a look, as (kind, place of the picture): the best and worst by CIDEr, and a failure a kind."""
        cider = self.comparison.per_picture(self.strategy)["cider"]
        order = np.argsort(-cider, kind="stable").tolist()
        chosen = [("best", place) for place in order[:count]] + [("worst", place) for place in order[::-1][:count]]
        return chosen + [(kind, places[0]) for kind, places in self.failures.items() if places]

    @property
    def _words(self) -> list[tuple[str, ...]]:
        return [caption.words for caption in self.best]

    @cached_property
    def _train(self) -> list[list[str]]:
        return [words for captions in self.prepared.captions["train"].values() for words in captions]

    @cached_property
    def _baselines(self) -> dict[str, list[list[str]]]:
        train = sorted(self.prepared.captions["train"].items())
        near = nearest_captions(
            pooled(self.store, self.images),
            pooled(self.store, [image for image, _ in train]),
            [captions for _, captions in train],
            NEAREST,
        )
        constant = constant_caption(self._train, self.references)
        return {
            "constant": [constant] * len(self.images),
            "random": random_captions(self._train, len(self.images), self.seed),
            "nearest": near,
        }

    @cached_property
    def _chair(self) -> Chair:
        """By the boxes and the references; by the references alone, and COCO's objects, where there are no boxes."""
        if not self.boxes:
            return Chair(self.references, [], coco_lexicon())
        named = [{box.noun for box in of_one.boxes} for of_one in self.boxes]
        return Chair(self.references, named, Lexicon(self.objects))

    def _scores_of(self, statistics: Any) -> dict[str, float]:
        return {name: float(score) for name, score in self._chair.scores(statistics.sum(0)).items()}

    @cached_property
    def _grounder(self) -> Grounding:
        return Grounding(self.boxes, self.store.spec.grid, Lexicon(self.objects))

    @cached_property
    def _grounding(self) -> Any:
        return self._grounder.report(self.best) if self.boxes else None

    def _grounding_details(self) -> dict[str, Any] | None:
        if self._grounding is None or not self._grounding.words:
            return None
        statistics = self._grounder.statistics(self.best)
        sure = bootstrap(self._grounder, statistics, self.samples, self.seed)
        return {
            "words": self._grounding.words,
            "intervals": {name: [found.low, found.high] for name, found in sure.items()},
            "nouns": self._grounding.nouns,
        }

    def _calibration(self) -> dict[str, float | None]:
        if not self._confidence[0]:  # a captioner that says nothing at all
            return {"ece": None, "brier": None}
        return {"ece": expected_calibration_error(*self._confidence), "brier": brier(*self._confidence)}

    @cached_property
    def _confidence(self) -> tuple[list[float], list[bool]]:
        """The probability of every word said, and whether any reference of its picture has it."""
        right = words_right(self._words, self.references)
        log_probs = [log_prob for caption in self.best for log_prob in caption.word_log_probs]
        return np.exp(log_probs).tolist(), [hit for of_one in right for hit in of_one]

    @property
    def _object_counts(self) -> list[str]:
        counts = [len(of_one.boxes) for of_one in self.boxes]
        return [f"{n} object{'s' if n != 1 else ''}" for n in counts]


def boxed(sizes: Sequence[tuple[int, int]], objects: Sequence[Sequence[Box]]) -> list[Boxed]:
    """Pictures with their objects, if every one of them has some; else none, and boxes are not measured against."""
    if not objects or not all(objects):
        return []
    return [Boxed(size, tuple(of_one)) for size, of_one in zip(sizes, objects, strict=True)]
