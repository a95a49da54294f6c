"""Fits the confidence of a trained decoder's captions to the dev split."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.image_statistics import ImageStatistics
from wordgaze.generation.principal_regression import PrincipalRegression
from wordgaze.inference.caption_features import caption_features
from wordgaze.metrics.base import Tokens
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import Vocabulary
from wordgaze.vision.feature_store import FeatureSource

MAX_CONFIDENCE_IMAGES = 2_000
"""The most dev images that are captioned, taken from all over the split."""

_BATCH_SIZE = 128
_READ_IMAGES = 256  # images at a time: with 3,464 channels and 81 cells 290 MB


def fit_confidence(
    decoder: Decoder,
    vocabulary: Vocabulary,
    source: FeatureSource,
    train_means: Tensor,
    train_captions: Sequence[Sequence[Tokens]],
    dev: tuple[Sequence[str], Sequence[Sequence[Tokens]]],
    max_words: int,
) -> ConfidenceModel:
    """The confidence of the decoder's captions by beam search with the default settings.

    ``train_means`` (M, C) are the mean features of training images and ``train_captions`` the captions of each; ``dev``
    are the names and the references of images that the decoder was not trained on, whose features ``source`` reads.
    """
    step = math.ceil(len(dev[0]) / MAX_CONFIDENCE_IMAGES)
    names, references = dev[0][::step], dev[1][::step]
    beam = GenerationConfig(max_new_tokens=max_words)
    found = caption_features(decoder.eval(), vocabulary, source, names, beam, _BATCH_SIZE)
    images = ImageStatistics.fit(train_means)
    ngrams = PrincipalRegression.fit(images.project(train_means)[0], train_captions, vocabulary)
    best = [of_image[0] for of_image in found]
    return ConfidenceModel.fit(images, ngrams, mean_features(source, names), best, references)


def mean_features(source: FeatureSource, images: Sequence[str]) -> Tensor:
    """The features of images, averaged over the grid: (N, C)."""
    starts = range(0, len(images), _READ_IMAGES)
    return torch.cat([source.read(images[i : i + _READ_IMAGES]).float().mean(1).cpu() for i in starts])
