"""Reranks beam candidates by what a regression on the training images expects, without storing their captions.

``NeighbourReranker`` needs the captions and the features of every training image. Its regression is a linear map from
an image to n-grams, which a matrix of low rank describes nearly as well (reduced-rank regression; Izenman 1975): a few
megabytes, from which no caption can be read back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.errors import ModelError
from wordgaze.core.stored_tensors import checked_ids, checked_tensors
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.neighbours import NeighbourReranker
from wordgaze.generation.ngram_regression import ngram_score
from wordgaze.generation.outputs import Caption
from wordgaze.generation.reranker import rescored
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.document_frequencies import DocumentFrequencies
from wordgaze.metrics.ngrams import ORDERS, Gram
from wordgaze.text.vocabulary import PAD, Vocabulary

RANK = 256
"""On Flickr8k's dev split rank 128 has half of what the whole matrix adds to the CIDEr, rank 256 nine tenths."""

MIN_SUMMARY_IMAGES = 8
"""An n-gram is kept if the captions of at least so many training images have it."""


@dataclass(frozen=True)
class NgramSummaryReranker:
    """Of images with C channels, for G n-grams over ``vocabulary``.

    ``mean``, ``scale`` (C,) standardise the mean of an image's features over the grid; ``down`` (C, RANK) and ``up``
    (RANK, G) map it, scaled to length 1, to the expected tf-idf vector less ``bias`` (G,). ``ngrams`` (G, 4) are token
    ids, padded with PAD; ``idf`` (G,) their weights, and ``unseen_idf`` (1,) that of any other n-gram.
    """

    vocabulary: Vocabulary
    mean: Tensor
    scale: Tensor
    down: Tensor
    up: Tensor
    bias: Tensor
    ngrams: Tensor
    idf: Tensor
    unseen_idf: Tensor

    @classmethod
    def summarise(cls, reranker: NeighbourReranker) -> "NgramSummaryReranker":
        """The summary of the regression of ``reranker``."""
        regression, vocabulary = reranker.regression, reranker.vocabulary
        grams, down, up, bias = regression.reduced(RANK, MIN_SUMMARY_IMAGES)
        idf, unseen = reranker.frequencies
        ids = [[vocabulary.index[word] for word in gram] + [PAD] * (ORDERS - len(gram)) for gram in grams]
        return cls(
            vocabulary,
            reranker.mean,
            reranker.scale,
            down,
            up,
            bias,
            torch.tensor(ids, dtype=torch.int32).view(-1, ORDERS),
            torch.tensor([idf[gram] for gram in grams]),
            torch.tensor([unseen]),
        )

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> "NgramSummaryReranker | None":
        """From what :meth:`tensors` returned; None if ``tensors`` is empty.

        Raises KeyError if a tensor is missing, and ValueError for one that does not fit the others.
        """
        if not tensors:
            return None
        stored = checked_tensors(tensors, _SHAPES)
        checked_ids("ngrams", tensors["ngrams"], len(vocabulary))
        return cls(vocabulary, *stored)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to be stored, the matrices in fp16."""
        halved = {name: getattr(self, name).half() for name in ("down", "up", "bias")}
        return {name: getattr(self, name) for name in _SHAPES} | halved

    def rerank(
        self, candidates: Sequence[Sequence[Caption]], features: Tensor, config: GenerationConfig
    ) -> list[list[Caption]]:
        """The ``config.num_return_sequences`` best candidates of each of B images; features (B, L, C).

        The new score is the candidate's own plus ``config.regression_weight`` times the score, at most 10, that the
        regression expects. Raises ModelError if the features have another number of channels.
        """
        means = features.float().mean(1).cpu()
        if means.shape[1] != len(self.mean):
            raise ModelError(
                f"features of {means.shape[1]} channels cannot be compared with training images of {len(self.mean)};"
                " use the encoder of the captioner"
            )
        vectors = normalize((means - self.mean.float()) * self.scale.float(), dim=1)
        expected = (vectors @ self.down.float()) @ self.up.float() + self.bias.float()  # (B, G)
        words = [[caption.words for caption in of_image] for of_image in candidates]
        scores = [self._scores(row, of_image) for row, of_image in zip(expected, words, strict=True)]
        return rescored(candidates, [(config.regression_weight, scores)], config.num_return_sequences)

    def _scores(self, expected: Tensor, captions: Sequence[Tokens]) -> list[float]:
        values = expected.tolist()
        return [ngram_score(words, values, self._index, self._frequencies) for words in captions]

    @cached_property
    def _index(self) -> dict[Gram, int]:
        words = self.vocabulary.words
        return {tuple(words[i] for i in row if i != PAD): number for number, row in enumerate(self.ngrams.tolist())}

    @cached_property
    def _frequencies(self) -> DocumentFrequencies:
        idf = self.idf.float().tolist()
        return DocumentFrequencies({gram: idf[i] for gram, i in self._index.items()}, float(self.unseen_idf))


_SHAPES = {
    "mean": "C",
    "scale": "C",
    "down": "C K",
    "up": "K G",
    "bias": "G",
    "ngrams": f"G {ORDERS}",
    "idf": "G",
    "unseen_idf": "1",
}
