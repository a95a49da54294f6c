"""Reranks beam candidates by agreement with the captions of similar training images.

After training a decoder knows the training set by its weights alone. The captions of similar images are further
evidence: of the captions that beam search finds, the one is taken that is probable and agrees with them (Devlin et al.
2015, "Exploring Nearest Neighbor Approaches for Image Captioning"; Mao et al. 2015, "Learning like a Child", section
6.1). The few nearest images are evidence of rare n-grams; a regression over all images (``NgramRegression``) estimates
frequent ones more precisely.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.stored_tensors import checked_ids, checked_tensors
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.image_statistics import embed_means
from wordgaze.generation.ngram_regression import NgramRegression
from wordgaze.generation.outputs import Caption
from wordgaze.generation.reranker import rescored
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import Cider
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies
from wordgaze.metrics.nearest import nearest
from wordgaze.text.vocabulary import PAD, UNK, Vocabulary

MAX_TRAIN_IMAGES = 10_000
"""The most training images that a captioner stores, taken from all over the data set: with 1,280 channels 25 MB."""

_EPSILON = 1e-4  # added to a standard deviation, which may be 0


class NeighbourReranker:
    """Compares images with M training images by the cosine of their standardised mean features.

    ``mean`` and ``scale`` (C,) standardise the mean of an image's features over the grid. ``vectors`` (M, C), of length
    1, are those of the training images; ``captions`` (M, R, T) the token ids of their captions, padded with PAD.
    """

    def __init__(self, vocabulary: Vocabulary, mean: Tensor, scale: Tensor, vectors: Tensor, captions: Tensor) -> None:
        self.vocabulary = vocabulary
        self.mean, self.scale, self.vectors, self.captions = mean, scale, vectors, captions

    @classmethod
    def fit(cls, means: Tensor, captions: Sequence[Sequence[Tokens]], vocabulary: Vocabulary) -> "NeighbourReranker":
        """From the mean features (M, C) of training images and the captions of each."""
        deviation, mean = torch.std_mean(means, dim=0, correction=0)
        scale = 1 / (deviation + _EPSILON)
        vectors = normalize((means - mean) * scale, dim=1).half()
        return cls(vocabulary, mean, scale, vectors, _padded(captions, vocabulary))

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> "NeighbourReranker | None":
        """From what :meth:`tensors` returned; None if ``tensors`` is empty.

        Raises KeyError if a tensor is missing, and ValueError for one that does not fit the others.
        """
        if not tensors:
            return None
        shapes = {"mean": "C", "scale": "C", "vectors": "M C", "captions": "M R T"}
        mean, scale, vectors, captions = checked_tensors(tensors, shapes)
        return cls(vocabulary, mean, scale, vectors, checked_ids("captions", captions, len(vocabulary)))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to be stored."""
        return {"mean": self.mean, "scale": self.scale, "vectors": self.vectors, "captions": self.captions}

    def rerank(
        self, candidates: Sequence[Sequence[Caption]], features: Tensor, config: GenerationConfig
    ) -> list[list[Caption]]:
        """The ``config.num_return_sequences`` best candidates of each of B images; features (B, L, C).

        The new score is the candidate's own plus ``config.neighbour_weight`` times its CIDEr, 0…10, against the
        captions of the ``config.num_neighbours`` nearest training images, plus ``config.regression_weight`` times the
        score that ``NgramRegression`` expects. Raises ModelError if the features have another number of channels.
        """
        vectors = self.embed(features)
        words = [[caption.words for caption in of_image] for of_image in candidates]
        evidence = []
        if config.neighbour_weight:
            evidence.append((config.neighbour_weight, self._agreement(vectors, words, config.num_neighbours)))
        if config.regression_weight:
            evidence.append((config.regression_weight, self.regression.scores(vectors, words)))
        return rescored(candidates, evidence, config.num_return_sequences)

    def _agreement(self, vectors: Tensor, words: Sequence[Sequence[Tokens]], num_neighbours: int) -> list[list[float]]:
        """CIDEr of each caption against those of the ``num_neighbours`` nearest training images; vectors (B, C)."""
        rows = nearest(vectors, self._vectors, min(num_neighbours, len(self.vectors))).tolist()
        cider = Cider([[caption for i in row for caption in self._words[i]] for row in rows], self.frequencies)
        return [cider.reward([i] * len(of_image), of_image) for i, of_image in enumerate(words)]

    def embed(self, features: Tensor) -> Tensor:
        """features (B, L, C) → the vectors that are compared with ``vectors``: (B, C), of length 1."""
        return embed_means(features.float().mean(1).cpu(), self.mean, self.scale)

    @cached_property
    def _vectors(self) -> Tensor:
        return self.vectors.float()

    @cached_property
    def _words(self) -> list[list[Tokens]]:
        """The captions of each training image."""
        words = self.vocabulary.words
        captions = [[tuple(words[i] for i in row if i != PAD) for row in rows] for rows in self.captions.tolist()]
        return [[caption for caption in of_image if caption] for of_image in captions]

    @cached_property
    def frequencies(self) -> DocumentFrequencies:
        """The document frequencies of the training captions' n-grams."""
        return document_frequencies(self._words)

    @cached_property
    def regression(self) -> NgramRegression:
        """The regression on the training images."""
        return NgramRegression(self._vectors, self._words, self.frequencies)


def _padded(captions: Sequence[Sequence[Tokens]], vocabulary: Vocabulary) -> Tensor:
    """The captions of M images as token ids (M, R, T)."""
    longest = max(len(words) for of_image in captions for words in of_image)
    token_ids = torch.full((len(captions), max(map(len, captions)), longest), PAD, dtype=torch.int32)
    for rows, of_image in zip(token_ids, captions, strict=True):
        for row, words in zip(rows, of_image, strict=False):
            row[: len(words)] = torch.tensor([vocabulary.index.get(word, UNK) for word in words])
    return token_ids
