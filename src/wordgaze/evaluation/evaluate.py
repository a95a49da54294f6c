"""Evaluates the captions of a split: scores, confidence intervals, failures and the examples of a report."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wordgaze.core.lazy_sequence import LazySequence
from wordgaze.data.prepared import Prepared
from wordgaze.data.records import Box, Split
from wordgaze.evaluation.baselines import reference_baselines, training_baselines, training_captions
from wordgaze.evaluation.comparison import (
    CIDER_DOCUMENT_FREQUENCIES,
    Comparison,
    confidence_intervals,
    diversity,
)
from wordgaze.evaluation.confidence import ConfidenceEvaluation
from wordgaze.evaluation.grounding_results import GroundingDetails, GroundingIntervals, GroundingScores, NounGrounding
from wordgaze.evaluation.results import (
    Baselines,
    Calibration,
    EvaluationDetails,
    EvaluationReport,
    Hallucination,
    ReliabilityBin,
    Scores,
)
from wordgaze.generation.caption_words import in_words
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Floats, Tokens
from wordgaze.metrics.calibration import brier, expected_calibration_error, reliability, words_right
from wordgaze.metrics.failures import failures
from wordgaze.metrics.grounding import Boxed, Grounding
from wordgaze.metrics.hallucination import Chair
from wordgaze.metrics.intervals import bootstrap
from wordgaze.metrics.noun_confusion import NounPair, noun_confusion
from wordgaze.text.objects import Lexicon, coco_lexicon
from wordgaze.text.tokenizers import Tokenizer
from wordgaze.vision.feature_store import FeatureStore


@dataclass(frozen=True)
class Evaluation:
    """Evaluates the captions of one split.

    ``captions`` are by strategy: for each image one caption or several, best first. The strategy of ``generation`` is
    the one that breakdowns and examples are about. The words of the captions are tokens; scores are those of their
    texts in the tokens of the scoring tokenizer. ``boxes`` are the images' sizes and objects, empty where the data
    set has none; ``objects`` are all nouns of its boxes.
    """

    prepared: Prepared
    split: Split
    store: FeatureStore
    captions: Mapping[str, Sequence[Sequence[Caption]]]
    generation: GenerationConfig
    boxes: Sequence[Boxed]
    objects: frozenset[str]
    num_resamples: int
    seed: int

    @property
    def strategy(self) -> str:
        """The strategy that is evaluated in detail."""
        return self.generation.strategy

    @cached_property
    def images(self) -> list[str]:
        """The names of the split's images."""
        return self.prepared.references(self.split)[0]

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the captions; its ``scoring`` is that of the scores."""
        return self.prepared.vocabulary.tokenizer

    @cached_property
    def references(self) -> list[list[list[str]]]:
        """All captions of each image, as tokens of the scoring tokenizer."""
        if self.tokenizer.has_words:
            return self._token_references
        return [[self.tokenizer.scoring.tokenize(text) for text in self.prepared.raw[image]] for image in self.images]

    @cached_property
    def _token_references(self) -> list[list[list[str]]]:
        return self.prepared.references(self.split)[1]

    @property
    def best(self) -> Sequence[Caption]:
        """The best caption of each image."""
        candidates = self.captions[self.strategy]
        return LazySequence(len(candidates), lambda place: candidates[place][0])

    def shown(self, place: int, strategy: str = "") -> Caption:
        """The best caption of an image in words, by the evaluated strategy unless another is named."""
        return in_words(self.captions[strategy or self.strategy][place][0], self.tokenizer)

    @cached_property
    def comparison(self) -> Comparison:
        """The strategies and the baselines, on the same images."""
        captions: dict[str, Sequence[Tokens]] = {name: _words(found) for name, found in self.captions.items()}
        captions |= self._baselines
        systems = {name: [self._scored(tokens) for tokens in of_system] for name, of_system in captions.items()}
        return Comparison(systems, self.references, self.num_resamples, self.seed, self.tokenizer.is_english)

    def _scored(self, tokens: Tokens) -> Tokens:
        """The tokens of a caption as those of the scoring tokenizer."""
        if self.tokenizer.has_words:
            return tokens
        return self.tokenizer.scoring.tokenize(self.tokenizer.join(tokens))

    def report(self, dataset: str, weights: str) -> EvaluationReport:
        """The scores of the strategies and the baselines; ``weights`` is the SHA-256 of the captioner's weights."""
        scores = self.comparison.scores()
        grounding = self._grounding.report(self.best).scores if self.boxes and self.tokenizer.is_english else None
        return EvaluationReport(
            dataset=dataset,
            split=self.split,
            num_images=len(self.images),
            tokenizer=self.tokenizer.scoring.name,
            cider_document_frequencies=CIDER_DOCUMENT_FREQUENCIES,
            weights=weights,
            generation=self.generation,
            system=self.strategy,
            scores={name: scores[name] for name in self.captions},
            baselines=self._baseline_scores(scores),
            grounding=None if grounding is None else GroundingScores.from_metric(grounding),
            hallucination=self._hallucination(),
            calibration=self._calibration(),
            confidence=self._confidence.scores() if self._confidence else None,
        )

    def _hallucination(self) -> Hallucination:
        """Names of objects are known in English only."""
        if not self.tokenizer.is_english:
            return Hallucination(chair_i=None, chair_s=None, object_recall=None)
        chair = self._chair.scores(self._chair.statistics(self._best_words).sum(0))
        return Hallucination.model_validate({name: float(value) for name, value in chair.items()})

    def details(self) -> EvaluationDetails:
        """Confidence intervals, differences between the strategies, and scores of parts of the images."""
        comparison, strategy = self.comparison, self.strategy
        base = "greedy" if strategy != "greedy" else "beam"
        return EvaluationDetails(
            intervals=comparison.intervals(),
            comparisons=comparison.differences(base, list(self.captions)),
            by_length=comparison.by_length(strategy),
            by_objects=comparison.by_group(strategy, self._object_counts) if self.boxes else (),
            grounding=self._grounding_details() if self.boxes and self.tokenizer.is_english else None,
            calibration=self._reliability(),
            confidence=self._confidence.details() if self._confidence else None,
            diversity={
                name: diversity(
                    [[self._scored(caption.words) for caption in of_image] for of_image in candidates], self._train
                )
                for name, candidates in self.captions.items()
            },
            failures={kind: len(places) for kind, places in self.failures.items()},
        )

    @cached_property
    def failures(self) -> dict[str, list[int]]:
        """The indices of the captions that fail, by kind of failure."""
        hallucinated = self._chair.statistics(self._best_words)[:, 1] > 0
        cut = [caption.finish_reason != "end" for caption in self.best]
        function_words = self.prepared.vocabulary.function_words
        return failures(self._best_words, cut, hallucinated.tolist(), function_words)

    def examples(self, count: int) -> list[tuple[str, int]]:
        """Examples as (kind, index): the ``count`` best and worst captions by CIDEr, and one of each failure."""
        cider = self.comparison.per_image(self.strategy)["cider"]
        order = np.argsort(-cider, kind="stable").tolist()
        chosen = [("best", place) for place in order[:count]] + [("worst", place) for place in order[::-1][:count]]
        return chosen + [(kind, places[0]) for kind, places in self.failures.items() if places]

    @cached_property
    def _best_words(self) -> list[tuple[str, ...]]:
        return _words(self.captions[self.strategy])

    @cached_property
    def _train(self) -> Sequence[Tokens]:
        captions = training_captions(self.prepared)
        return LazySequence(len(captions), lambda number: self._scored(captions[number]))

    @cached_property
    def _baselines(self) -> dict[str, list[list[str]]]:
        return training_baselines(self.prepared, self.store, self.images, self._token_references, self.seed)

    def _baseline_scores(self, scores: Mapping[str, Scores]) -> Baselines:
        constant = self.tokenizer.join(self._baselines["constant"][0])
        train = {name: scores[name] for name in self._baselines}
        best = self.comparison.systems[self.strategy]
        human = reference_baselines(best, self.references, self.tokenizer.is_english)
        return Baselines.model_validate({"constant_caption": constant, **train, **human})

    def noun_pairs(self) -> list[NounPair]:
        """The most frequent noun of each image's references and that of its caption, of English captions alone."""
        if not self.tokenizer.is_english:
            return []
        lexicon = Lexicon(self.objects) if self.boxes else coco_lexicon()
        return noun_confusion(self.comparison.systems[self.strategy], self.references, lexicon)

    @cached_property
    def _chair(self) -> Chair:
        """Counts objects by the boxes and the references; without boxes, COCO's objects by the references alone. Names
        of objects are known in English only; in other languages nothing is counted."""
        if not self.tokenizer.is_english:
            return Chair(self.references, [], Lexicon([]))
        if not self.boxes:
            return Chair(self.references, [], coco_lexicon())
        objects = [{box.noun for box in image.boxes} for image in self.boxes]
        return Chair(self.references, objects, Lexicon(self.objects))

    @cached_property
    def _grounding(self) -> Grounding:
        return Grounding(self.boxes, self.store.spec.grid, Lexicon(self.objects))

    def _grounding_details(self) -> GroundingDetails | None:
        report = self._grounding.report(self.best)
        if not report.words:
            return None
        intervals = bootstrap(self._grounding, self._grounding.statistics(self.best), self.num_resamples, self.seed)
        return GroundingDetails(
            num_words=report.words,
            intervals=GroundingIntervals.from_metric(confidence_intervals(intervals)),
            nouns={
                noun: NounGrounding(num_words=int(row["words"]), pointing=row["pointing"], mass=row["mass"])
                for noun, row in report.nouns.items()
            },
        )

    def _calibration(self) -> Calibration:
        if not len(self._word_probabilities[0]):
            return Calibration(ece=None, brier=None)
        return Calibration(
            ece=expected_calibration_error(*self._word_probabilities), brier=brier(*self._word_probabilities)
        )

    def _reliability(self) -> tuple[ReliabilityBin, ...]:
        bins = reliability(*self._word_probabilities) if len(self._word_probabilities[0]) else []
        return tuple(ReliabilityBin.model_validate(asdict(one)) for one in bins)

    @cached_property
    def _word_probabilities(self) -> tuple[Floats, NDArray[np.bool_]]:
        """The probability of each word of the best captions, and whether any reference of its image has the word."""
        right = words_right(self._best_words, self._token_references)
        log_probs = array("d", (log_prob for caption in self.best for log_prob in caption.word_log_probs))
        return np.exp(log_probs), np.array([hit for of_caption in right for hit in of_caption], np.bool_)

    @cached_property
    def _confidence(self) -> ConfidenceEvaluation | None:
        """None where the captions have no confidence."""
        if any(caption.confidence is None for caption in self.best):
            return None
        cider = self.comparison.per_image(self.strategy)["cider"]
        function_words = self.prepared.vocabulary.function_words
        return ConfidenceEvaluation(self.best, self._token_references, cider, function_words)

    @property
    def _object_counts(self) -> list[str]:
        counts = [len(image.boxes) for image in self.boxes]
        return [f"{n} object{'s' if n != 1 else ''}" for n in counts]


def boxed(sizes: Sequence[tuple[int, int]], objects: Sequence[Sequence[Box]]) -> list[Boxed]:
    """Images with their objects; empty unless every image has some, because grounding is measured on all or none."""
    if not objects or not all(objects):
        return []
    return [Boxed(size, tuple(of_image)) for size, of_image in zip(sizes, objects, strict=True)]


def _words(candidates: Sequence[Sequence[Caption]]) -> list[tuple[str, ...]]:
    """The words of each image's best caption."""
    return [of_image[0].words for of_image in candidates]
