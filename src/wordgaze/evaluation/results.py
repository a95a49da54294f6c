"""Typed results of an evaluation, from the metrics to the report, the console, MLflow and JSON.

``reports/evaluation.json`` holds an :class:`EvaluationReport` and ``reports/details.json`` an
:class:`EvaluationDetails`.
"""

from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from wordgaze.core.files import write_json
from wordgaze.evaluation.grounding_results import GroundingDetails, GroundingScores
from wordgaze.evaluation.result_types import (
    SCORE_LABELS,
    ByScore,
    ConfidenceInterval,
    OptionalValue,
    Result,
    Value,
    is_none,
)  # fmt: skip
from wordgaze.generation.config import GenerationConfig

MAIN_SCORES = ("cider", "bleu_4", "meteor", "rouge_l")


class ScoreDifference(ConfidenceInterval):
    """The difference of two systems on the same images, its 95 % interval and its two-sided p-value."""

    value: OptionalValue
    p: OptionalValue


class Scores(ByScore[Value]):
    """Scores of captions: BLEU, ROUGE-L and METEOR in 0…1, CIDEr in 0…10."""


class ScoreIntervals(ByScore[ConfidenceInterval]):
    """The confidence interval of each score."""


class ScoreDifferences(ByScore[ScoreDifference]):
    """The difference of two systems in each score."""


class SystemComparison(Result):
    """The scores of ``system`` minus those of ``base``, tested on the same resamples of the images."""

    system: str
    base: str
    differences: ScoreDifferences


class GroupScores(Result):
    """The scores of a part of the images."""

    name: str
    num_images: int
    scores: Scores


class Baselines(Result):
    """Scores to compare a captioner with. What cannot be computed is None and left out of the JSON.

    ``constant``: one training caption, ``constant_caption``, for every image. ``random``: training captions drawn at
    random. ``nearest``: the consensus caption of the most similar training images (Devlin et al. 2015). ``human``:
    each reference against the others. ``fewer_references``: the captioner with one reference fewer, as ``human`` is
    scored.
    """

    constant_caption: str | None = Field(None, exclude_if=is_none)
    constant: Scores | None = Field(None, exclude_if=is_none)
    random: Scores | None = Field(None, exclude_if=is_none)
    nearest: Scores | None = Field(None, exclude_if=is_none)
    human: Scores | None = Field(None, exclude_if=is_none)
    fewer_references: Scores | None = Field(None, exclude_if=is_none)

    def labelled(self, system: str) -> "list[LabelledScores]":
        """The baselines that are not None, with a label for a reader; ``system`` names the captioner."""
        baselines = [
            ("one caption for every image", self.constant_caption, self.constant),
            ("random training captions", None, self.random),
            ("captions of the most similar training images", None, self.nearest),
            ("human captions, each against the others", None, self.human),
            (f"{system}, one reference fewer", None, self.fewer_references),
        ]
        return [LabelledScores(label, note, scores) for label, note, scores in baselines if scores is not None]


class LabelledScores(NamedTuple):
    """A row of a table: ``note`` is the caption of the constant baseline."""

    label: str
    note: str | None
    scores: Scores


class Hallucination(Result):
    """CHAIR (Rohrbach et al. 2018) and the share of objects that are named, in 0…1; None where nothing was counted."""

    chair_i: OptionalValue
    chair_s: OptionalValue
    object_recall: OptionalValue


class Calibration(Result):
    """Expected calibration error (Guo et al. 2017) and Brier score of the words' probabilities, in 0…1; None where
    every caption is empty."""

    ece: OptionalValue
    brier: OptionalValue


class ReliabilityBin(Result):
    """Words, or captions, whose probability p lies in ``low`` < p ≤ ``high``: their number, mean probability and
    accuracy."""

    low: Value
    high: Value
    count: int
    confidence: Value
    accuracy: Value


class CaptionConfidence(Result):
    """Whether the confidence of captions is calibrated, and whether the confident captions are the good ones.

    ``ece`` and ``brier`` are those of the event that at least half of a caption's content words occur in a reference.
    The risk is the share of captions for which they do not; ``aurc`` is the area under the risk–coverage curve (Geifman
    and El-Yaniv 2017), beside that of a random order and that of an oracle. ``cider`` is the mean over all images,
    ``cider_half`` that over the half with the highest confidence.
    """

    ece: Value
    brier: Value
    aurc: Value
    aurc_random: Value
    aurc_oracle: Value
    cider: Value
    cider_half: Value


class CoveragePoint(Result):
    """The images with the highest confidence: their share of all, the least confidence among them, their risk and their
    mean CIDEr. ``oracle`` is the least possible risk at this coverage."""

    coverage: Value
    confidence: Value
    risk: Value
    oracle: Value
    cider: Value


class ConfidenceDetails(Result):
    """The risk–coverage curve, and the captions by their confidence."""

    curve: tuple[CoveragePoint, ...]
    reliability: tuple[ReliabilityBin, ...]


class Diversity(Result):
    """How varied the captions of one strategy are. See :mod:`wordgaze.metrics.diversity` for each measure."""

    distinct_1: OptionalValue
    distinct_2: OptionalValue
    vocabulary_size: int
    mean_length: Value
    novelty: OptionalValue
    self_bleu: OptionalValue


class ScoreSummary(Result):
    """The scores of one system or several on the same images. ``scores`` are by system, in an evaluation by strategy.

    ``system`` names the one that ``baselines`` and the breakdowns belong to.
    """

    dataset: str
    num_images: int
    tokenizer: str
    cider_document_frequencies: str
    system: str
    scores: dict[str, Scores]
    baselines: Baselines


class EvaluationReport(ScoreSummary):
    """``reports/evaluation.json``: the scores of a captioner.

    ``weights`` is the SHA-256 of the captioner's weights. ``grounding`` is None for a data set without boxes, and
    ``confidence`` for a captioner that estimates none.
    """

    split: str
    weights: str
    generation: GenerationConfig
    grounding: GroundingScores | None
    hallucination: Hallucination
    calibration: Calibration
    confidence: CaptionConfidence | None = Field(None, exclude_if=is_none)

    def save_metrics(self, path: Path) -> None:
        """Writes the main scores of the evaluated strategy, few enough for the table of ``dvc exp show``."""
        scores = self.scores[self.system].model_dump(mode="json")
        write_json(path, {name: scores[name] for name in MAIN_SCORES if scores[name] is not None})


class EvaluationDetails(Result):
    """``reports/details.json``: confidence intervals, differences between systems and scores of parts of the images.

    ``intervals`` and ``diversity`` are by system. ``failures`` counts the captions that fail, by kind of failure.
    """

    intervals: dict[str, ScoreIntervals]
    comparisons: tuple[SystemComparison, ...] = ()
    by_length: tuple[GroupScores, ...] = ()
    by_objects: tuple[GroupScores, ...] = ()
    grounding: GroundingDetails | None = None
    calibration: tuple[ReliabilityBin, ...] = ()
    confidence: ConfidenceDetails | None = Field(None, exclude_if=is_none)
    diversity: dict[str, Diversity] = Field(default_factory=dict)
    failures: dict[str, int] = Field(default_factory=dict)


class ScoredFiles(Result):
    """What ``wordgaze score`` computes from files. ``num_left_out`` counts the references that had no caption."""

    summary: ScoreSummary
    details: EvaluationDetails
    num_left_out: int = 0


class ScoreReport(Scores):
    """What :func:`wordgaze.score` returns: a score an attribute, ``report.cider``, and ``str(report)`` a table.

    ``intervals`` are the 95 % bootstrap intervals, or None where none were asked for.
    """

    num_images: int
    tokenizer: str
    intervals: ScoreIntervals | None

    def __str__(self) -> str:
        intervals = dict(self.intervals.items()) if self.intervals else {}
        lines = [f"{self.num_images} images"]
        for name, score in self.items():
            interval = intervals.get(name)
            known = interval is not None and interval.low is not None and interval.high is not None
            shown = f"  [{interval.low:.3f}, {interval.high:.3f}]" if interval and known else ""
            lines.append(f"{SCORE_LABELS[name]:<10}{score:.3f}{shown}")
        return "\n".join(lines)
