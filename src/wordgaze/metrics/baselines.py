"""Baselines: captions that do not depend on the image's content, captions of similar images, and human captions."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.bleu import corpus_bleu
from wordgaze.metrics.captions import score_captions
from wordgaze.metrics.cider import DocumentFrequencies, document_frequencies
from wordgaze.metrics.consensus import consensus_scores
from wordgaze.metrics.nearest import nearest
from wordgaze.metrics.ngrams import refuse_misfit

Features = npt.NDArray[np.float32]

_NUM_CONSTANT = 50  # the most frequent training captions, of which the constant caption is chosen
_BATCH = 256  # images whose features are read at a time


class FeatureReader(Protocol):
    """Reads the features of images, as ``FeatureStore`` does."""

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images, in their order."""
        ...


def constant_caption(train: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> list[str]:
    """The one training caption that has the best BLEU-4 on these references if it is given to every image.

    It is chosen among the 50 most frequent training captions.
    """
    frequent = [list(words) for words, _ in Counter(map(tuple, train)).most_common(_NUM_CONSTANT)]
    return max(frequent, key=lambda words: corpus_bleu([words] * len(references), references)["bleu_4"])


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


def nearest_captions(
    features: Features, train_features: Features, train_captions: Sequence[Sequence[Tokens]], k: int
) -> list[list[str]]:
    """The consensus caption of the ``k`` nearest training images, by cosine (Devlin et al. 2015).

    ``features`` (N, D) and ``train_features`` (M, D) are pooled; ``train_captions[j]`` are the captions of training
    image j. The consensus is the caption that is most similar to the others. Raises ScoreError on a misfit.
    """
    _check(features, train_features, train_captions, k)
    if not len(features):
        return []
    queries, keys = (normalize(torch.from_numpy(rows), dim=1) for rows in (features, train_features))
    rows = nearest(queries, keys, min(k, len(train_captions))).tolist()
    frequencies = document_frequencies(train_captions)
    return [_consensus([words for j in row for words in train_captions[j]], frequencies) for row in rows]


def human_scores(references: Sequence[Sequence[Tokens]], is_english: bool = True) -> dict[str, float] | None:
    """The scores of human captions: each reference in turn against the others, averaged.

    Captions are scored on one reference fewer than those of a captioner. Images with one reference are left out; None
    if no image has two.
    """
    several = [of_image for of_image in references if len(of_image) > 1]
    return _leave_one_out(several, lambda i: [of_image[i] for of_image in several], is_english)


def fewer_references(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], is_english: bool = True
) -> dict[str, float] | None:
    """A captioner's scores with one reference left out in turn, averaged, which compare with :func:`human_scores`.

    Images, rounds and the number of references are the same as there. None if no image has two references.
    """
    refuse_misfit(candidates, len(references))
    several = [number for number, of_image in enumerate(references) if len(of_image) > 1]
    captions = [candidates[number] for number in several]
    return _leave_one_out([references[number] for number in several], lambda _: captions, is_english)


def _consensus(candidates: Sequence[Tokens], frequencies: DocumentFrequencies) -> list[str]:
    """The caption with the highest consensus score; of equals the first."""
    scores = consensus_scores(candidates, "cosine", frequencies)
    return list(candidates[int(np.argmax(np.round(scores, 11)))])  # rounded: equal scores differ in the last bits


def _leave_one_out(
    references: Sequence[Sequence[Tokens]], captions: Callable[[int], Sequence[Tokens]], is_english: bool
) -> dict[str, float] | None:
    """The mean over rounds i of the scores of ``captions(i)`` against all references but the i-th of each image."""
    if not references:
        return None
    rounds = min(map(len, references))
    scores = [
        score_captions(captions(i), [[*of_image[:i], *of_image[i + 1 :]] for of_image in references], is_english)
        for i in range(rounds)
    ]
    return {name: sum(s[name] for s in scores) / rounds for name in scores[0]}


def _check(features: Features, train_features: Features, train_captions: Sequence[Sequence[Tokens]], k: int) -> None:
    if k < 1:
        raise ScoreError(f"k is {k}; at least one nearest image is needed")
    if not len(train_captions) == len(train_features) > 0 or not all(train_captions):
        raise ScoreError(
            f"{len(train_features)} training images with captions of {len(train_captions)}: each needs at least one"
        )
    if len(features) and features.shape[1:] != train_features.shape[1:]:
        raise ScoreError(f"features of shapes {features.shape[1:]} and {train_features.shape[1:]} cannot be compared")
    if not (np.isfinite(features).all() and np.isfinite(train_features).all()):
        raise ScoreError("the features contain NaN or infinity; compute them again")
