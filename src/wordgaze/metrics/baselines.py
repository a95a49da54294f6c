"""Baselines: captions that do not depend on the image's content, captions of similar images, and human captions."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import Bleu
from wordgaze.metrics.captions import CaptionScores
from wordgaze.metrics.consensus import consensus_scores
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies
from wordgaze.metrics.nearest import NearestSearch
from wordgaze.metrics.ngrams import refuse_misfit, refuse_unscorable

Features = npt.NDArray[np.float32]

_NUM_CONSTANT = 50  # the most frequent training captions, of which the constant caption is chosen
_BATCH = 256  # images whose features are read at a time, and whose references are prepared
_POOLED = 1 << 14  # training images of which all pooled features are in memory: with 1,280 channels 84 MB


class FeatureReader(Protocol):
    """Reads the features of images, as ``FeatureStore`` does."""

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images, in their order."""
        ...


def constant_caption(train: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[str]:
    """The one training caption that has the best BLEU-4 on these references if it is given to every image.

    It is chosen among the 50 most frequent training captions.
    """
    refuse_unscorable(references)
    frequent = _most_frequent(train)
    totals = np.zeros((len(frequent), Bleu.columns))
    for start in range(0, len(references), _BATCH):
        some = references[start : start + _BATCH]
        bleu = Bleu(some)
        totals += [bleu.statistics([words] * len(some)).sum(0) for words in frequent]
    scores = [float(bleu.scores(of_caption)["bleu_4"]) for of_caption in totals]
    return frequent[scores.index(max(scores))]


def _most_frequent(train: Sequence[Tokens]) -> list[list[str]]:
    """The most frequent captions, of equally frequent ones the first; a caption takes 8 bytes."""
    hashes = np.fromiter((hash(tuple(words)) for words in train), np.int64, len(train))
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))[:_NUM_CONSTANT]
    return [list(train[i]) for i in first[order].tolist()]


def random_captions(train: Sequence[Tokens], count: int, seed: int) -> list[list[str]]:
    """``count`` random training captions, drawn with replacement. Raises ScoreError if there are none."""
    if not train:
        raise ScoreError("there are no training captions to draw from")
    return [list(train[number]) for number in np.random.default_rng(seed).integers(len(train), size=count)]


def pooled(store: FeatureReader, images: Sequence[str]) -> Features:
    """(N, D): the mean of each image's features over the grid, scaled to length 1."""
    parts = [
        normalize(store.read(images[i : i + _BATCH]).float().mean(1), dim=1).numpy()
        for i in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def pooled_parts(store: FeatureReader, images: Sequence[str]) -> Iterator[Features]:
    """As :func:`pooled`, of so many images at a time that the parts fit in memory."""
    return (pooled(store, images[i : i + _POOLED]) for i in range(0, len(images), _POOLED))


def nearest_captions(
    features: Features, train_parts: Iterable[Features], train_captions: Sequence[Sequence[Tokens]], k: int
) -> list[list[str]]:
    """The consensus caption of the ``k`` nearest training images, by cosine (Devlin et al. 2015).

    ``features`` (N, D) and ``train_parts``, together (M, D), are pooled; ``train_captions[j]`` are the captions of
    training image j. The consensus is the caption that is most similar to the others. Raises ScoreError on a misfit.
    """
    if k < 1:
        raise ScoreError(f"k is {k}; at least one nearest image is needed")
    search = NearestSearch(normalize(torch.from_numpy(features), dim=1), k)
    for part in train_parts:
        _check_features(features, part)
        search.add(normalize(torch.from_numpy(part), dim=1))
    if not len(train_captions) == search.num_keys > 0 or not all(train_captions):
        raise ScoreError(
            f"{search.num_keys} training images with captions of {len(train_captions)}: each needs at least one"
        )
    if not len(features):
        return []
    frequencies = document_frequencies(train_captions)
    return [
        _consensus([words for j in row for words in train_captions[j]], frequencies) for row in search.indices.tolist()
    ]


def leave_one_out_scores(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    is_english: bool = True,
    frequencies: DocumentFrequencies | None = None,
) -> dict[str, dict[str, float]]:
    """The scores of human captions, ``human``: each reference in turn against the others, averaged; and those of a
    captioner against the same references, ``fewer_references``, which compare with them.

    Captions are scored on one reference fewer than otherwise. Images with one reference are left out; empty if no image
    has two. Raises ScoreError unless there is one caption per image.
    """
    refuse_misfit(candidates, len(references))
    numbers = [number for number, of_image in enumerate(references) if len(of_image) > 1]
    if not numbers:
        return {}
    captions = [candidates[number] for number in numbers]
    several = [references[number] for number in numbers]
    rounds = min(map(len, several))
    totals: dict[str, dict[str, float]] = {}
    for i in range(rounds):
        metric = CaptionScores([[*each[:i], *each[i + 1 :]] for each in several], is_english, frequencies)
        systems = {"human": [of_image[i] for of_image in several], "fewer_references": captions}
        for name, statistics in metric.statistics_of(systems).items():
            of_system = totals.setdefault(name, {})
            for score, value in metric.scores(statistics.sum(0)).items():
                of_system[score] = of_system.get(score, 0) + float(value)
    return {name: {score: total / rounds for score, total in scores.items()} for name, scores in totals.items()}


def _consensus(candidates: Sequence[Tokens], frequencies: DocumentFrequencies) -> list[str]:
    """The caption with the highest consensus score; of equals the first."""
    scores = consensus_scores(candidates, "cosine", frequencies)
    return list(candidates[int(np.argmax(np.round(scores, 11)))])  # rounded: equal scores differ in the last bits


def _check_features(features: Features, train_features: Features) -> None:
    if len(features) and features.shape[1:] != train_features.shape[1:]:
        raise ScoreError(f"features of shapes {features.shape[1:]} and {train_features.shape[1:]} cannot be compared")
    if not (np.isfinite(features).all() and np.isfinite(train_features).all()):
        raise ScoreError("the features contain NaN or infinity; compute them again")
