"""``wordgaze watch``: whether images and captions in use are still like those of the training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.printable import count_noun, escaped
from wordgaze.inspection.observations import Observations
from wordgaze.inspection.stability import Stability, bins_for, quantile_bins, stability
from wordgaze.metrics.base import Floats
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

MIN_OBSERVATIONS = 20
"""The fewest images, captions or corrections that are compared; fewer say nothing."""

MAX_OBSERVATIONS = 10_000
"""The most captions that are compared; of more, a random choice."""

NUM_COMPONENTS = 8
"""The principal components of the images that are compared, besides the distance from all of them."""

_NUM_WORDS = 50  # words with a bin of their own; the others share one
_SHOWN_WORDS = 12


@dataclass(frozen=True)
class DriftThresholds:
    """From where on a measure counts as drift. Raises ParamsError for values that are not thresholds.

    psi: of embeddings, words and confidence; 0.1 to 0.25 is usually called a moderate change, above it a large one.
    unknown: the share of words in corrections that the vocabulary lacks. edits: the share of words that corrections
    change.
    """

    psi: float = 0.25
    unknown: float = 0.15
    edits: float = 0.5

    def __post_init__(self) -> None:
        if not (self.psi > 0 and 0 <= self.unknown <= 1 and 0 <= self.edits <= 1):
            raise ParamsError(
                f"the thresholds are psi {self.psi}, unknown {self.unknown} and edits {self.edits}; psi has to be above"
                " 0, the others are shares from 0 to 1"
            )


@dataclass(frozen=True)
class DriftMeasure:
    """One comparison. ``value`` is None where it could not be measured, and ``note`` says why.

    ``by_chance`` is what 99 % of such samples without drift do not exceed, None for a share. There is drift
    if the value exceeds both ``threshold`` and ``by_chance``.
    """

    name: str
    value: float | None
    threshold: float
    by_chance: float | None = None
    note: str = ""

    @property
    def is_drift(self) -> bool:
        """Whether the value exceeds what is tolerated, and what chance explains."""
        return self.value is not None and self.value > max(self.threshold, self.by_chance or 0.0)


@dataclass(frozen=True)
class WordChange:
    """A word and its share of the captions' words, in the reference and today."""

    word: str
    reference: float
    today: float


@dataclass(frozen=True)
class DriftReport:
    """What ``wordgaze watch`` found. ``unknown_words`` are those of corrections that the vocabulary lacks."""

    source: str
    captioner: str
    reference: str
    num_reference: int
    num_today: int
    num_corrections: int
    mean_confidence: tuple[float, float] | None
    measures: Sequence[DriftMeasure]
    words: Sequence[WordChange] = ()
    unknown_words: dict[str, int] = field(default_factory=dict)
    unlike: Sequence[str] = ()
    unread: Sequence[str] = ()

    @property
    def has_drift(self) -> bool:
        """Whether any measure exceeds its threshold."""
        return any(measure.is_drift for measure in self.measures)

    def to_json(self) -> dict[str, Any]:
        """All values, and whether there is drift. File names that are not UTF-8 are escaped."""
        measures = [asdict(each) | {"is_drift": each.is_drift} for each in self.measures]
        names = {key: escaped(getattr(self, key)) for key in ("source", "captioner", "reference")}
        lists = {key: [escaped(name) for name in getattr(self, key)] for key in ("unlike", "unread")}
        return asdict(self) | names | lists | {"measures": measures, "has_drift": self.has_drift}


@dataclass(frozen=True)
class Watched:
    """The names that a report shows: of the captioner, of what is watched, and of what it is compared with."""

    captioner: str
    source: str
    reference: str


def check_observations(observed: Observations, source: str) -> None:
    """Raises DataError for fewer captions of ``source`` than ``MIN_OBSERVATIONS``."""
    if len(observed.captions) < MIN_OBSERVATIONS:
        raise DataError(
            f"{source} has {count_noun(len(observed.captions), 'caption')} that can be compared; give a folder or a log"
            f" with at least {MIN_OBSERVATIONS}, the reference by --reference"
        )


def compare_observations(
    named: Watched,
    reference: Observations,
    today: Observations,
    corrections: Sequence[tuple[str, str]],
    vocabulary: Vocabulary,
    thresholds: DriftThresholds,
) -> DriftReport:
    """Compares today's observations with the reference; ``corrections`` are pairs of suggested and accepted caption.

    Raises DataError for fewer captions than ``MIN_OBSERVATIONS``.
    """
    check_observations(reference, named.reference)
    check_observations(today, named.source)
    some = _thinned(today)
    measures = [_embeddings(reference, some, thresholds.psi), *_texts(reference, some, vocabulary, thresholds.psi)]
    tokenize = vocabulary.tokenizer.tokenize
    pairs = [(tokenize(suggested), tokenize(accepted)) for suggested, accepted in corrections]
    unknown = Counter(word for _, words in pairs for word in words if word not in vocabulary.index)
    measures += _of_corrections(pairs, unknown, thresholds)
    return DriftReport(
        source=named.source, captioner=named.captioner, reference=named.reference,
        num_reference=len(reference.captions), num_today=len(today.captions), num_corrections=len(pairs),
        mean_confidence=_means(reference, today), measures=measures, words=_changes(reference, today, vocabulary),
        unknown_words=dict(unknown.most_common(_SHOWN_WORDS)), unlike=_unlike(today), unread=today.unread,
    )  # fmt: skip


def _thinned(observed: Observations) -> Observations:
    """At most ``MAX_OBSERVATIONS`` of the observations, drawn at random, always the same ones."""
    generator = np.random.default_rng(0)

    def drawn(number: int) -> list[int]:
        return sorted(generator.permutation(number)[:MAX_OBSERVATIONS].tolist())

    captions, confidence = drawn(len(observed.captions)), drawn(len(observed.confidence))
    return replace(
        observed,
        captions=tuple(observed.captions[place] for place in captions),
        confidence=tuple(observed.confidence[place] for place in confidence),
        embeddings=None if observed.embeddings is None else observed.embeddings[captions],
    )


def _embeddings(reference: Observations, today: Observations, threshold: float) -> DriftMeasure:
    name = "embeddings"
    if reference.embeddings is None or today.embeddings is None:
        return DriftMeasure(name, None, threshold, note="a log has no images; give their folder")
    chosen = [*range(min(NUM_COMPONENTS, reference.embeddings.shape[1] - 1)), -1]
    before, now = reference.embeddings[:, chosen], today.embeddings[:, chosen]
    found = _binned(before, now)
    return DriftMeasure(name, found.psi, threshold, found.by_chance, "the component of the images that differs most")


def _texts(
    reference: Observations, today: Observations, vocabulary: Vocabulary, threshold: float
) -> list[DriftMeasure]:
    bins = _word_bins([*reference.captions, *today.captions], vocabulary)
    words = stability(_counts(reference, bins, vocabulary), _counts(today, bins, vocabulary))
    measures = [DriftMeasure("words", words.psi, threshold, words.by_chance, "the words of the captions")]
    before, now = (np.array(each.confidence)[:, None] for each in (reference, today))
    if min(len(before), len(now)) < MIN_OBSERVATIONS:
        return [*measures, DriftMeasure("confidence", None, threshold, note="the captions have none")]
    found = _binned(before, now)
    return [*measures, DriftMeasure("confidence", found.psi, threshold, found.by_chance, "how sure the captioner is")]


def _binned(before: Floats, now: Floats) -> Stability:
    """The stability of values (N, G) and (M, G) in bins between the quantiles of both."""
    binned = quantile_bins(np.concatenate([before, now]), bins_for(min(len(before), len(now))))
    return stability(binned[: len(before)], binned[len(before) :], before.shape[1])


def _of_corrections(
    pairs: Sequence[tuple[list[str], list[str]]], unknown: Counter[str], thresholds: DriftThresholds
) -> list[DriftMeasure]:
    names = (("unknown words in corrections", thresholds.unknown), ("edit rate of corrections", thresholds.edits))
    if len(pairs) < MIN_OBSERVATIONS:
        note = f"{len(pairs)} corrections; {MIN_OBSERVATIONS} are needed"
        return [DriftMeasure(name, None, threshold, note=note) for name, threshold in names]
    total = sum(len(accepted) for _, accepted in pairs)
    shares = (sum(unknown.values()) / max(1, total), float(np.mean([edit_rate(*pair) for pair in pairs])))
    notes = ("the vocabulary lacks them", "the share of a caption's words that people change")
    return [
        DriftMeasure(name, share, threshold, note=note)
        for (name, threshold), share, note in zip(names, shares, notes, strict=True)
    ]


def edit_rate(suggested: Sequence[str], accepted: Sequence[str]) -> float:
    """The share of words that a correction changes, 0 for the same words and 1 for none in common."""
    return 1 - SequenceMatcher(None, suggested, accepted, autojunk=False).ratio()


def _word_bins(captions: Sequence[str], vocabulary: Vocabulary) -> dict[str, int]:
    """The bin of each frequent word that has content; the others share the bin 0."""
    counts = Counter(word for text in captions for word in _content(text, vocabulary))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:_NUM_WORDS]
    return {word: place for place, word in enumerate(frequent, start=1)}


def _content(text: str, vocabulary: Vocabulary) -> list[str]:
    words = vocabulary.tokenizer.tokenize(text)
    return [word for word in words if word not in vocabulary.function_words and word not in SPECIAL]


def _counts(observed: Observations, bins: dict[str, int], vocabulary: Vocabulary) -> Floats:
    """(N, B): the words of each caption; a caption without any that has content counts once, in the last bin."""
    counts = np.zeros((len(observed.captions), len(bins) + 2))
    for row, text in enumerate(observed.captions):
        words = _content(text, vocabulary)
        counts[row, -1] = not words
        for word in words:
            counts[row, bins.get(word, 0)] += 1
    return counts


def _changes(reference: Observations, today: Observations, vocabulary: Vocabulary) -> list[WordChange]:
    """The words whose share has changed most."""
    before, now = (
        Counter(word for text in each.captions for word in _content(text, vocabulary)) for each in (reference, today)
    )
    totals = max(1, before.total()), max(1, now.total())
    changes = [WordChange(word, before[word] / totals[0], now[word] / totals[1]) for word in before | now]
    return sorted(changes, key=lambda each: (-abs(each.today - each.reference), each.word))[:_SHOWN_WORDS]


def _means(reference: Observations, today: Observations) -> tuple[float, float] | None:
    if not reference.confidence or not today.confidence:
        return None
    return float(np.mean(reference.confidence)), float(np.mean(today.confidence))


def _unlike(today: Observations) -> list[str]:
    """The images that are the farthest from what the captioner was trained on."""
    if today.embeddings is None:
        return []
    order = np.argsort(-today.embeddings[:, -1], kind="stable")
    return [today.names[place] for place in order[:_SHOWN_WORDS]]
