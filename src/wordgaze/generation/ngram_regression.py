"""Ridge regression from an image to the n-grams of its captions.

The similarity of CIDEr as first defined is linear in a reference: the product of two tf-idf vectors. So the expected
score of a caption against references that nobody has written is its product with their expected vector, and a ridge
regression estimates that vector (Hoerl and Kennard 1970, "Ridge Regression"; Saunders et al. 1998 for the kernel form).
"""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import unit_vector
from wordgaze.metrics.document_frequencies import DocumentFrequencies
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams

PENALTY = 0.3
"""λ of the ridge regression, whose rows have length 1; chosen on the dev split among 0.1, 0.3, 1 and 3."""

MIN_IMAGES = 3
"""An n-gram is estimated if the captions of at least so many training images have it."""


class NgramRegression:
    """Fitted to M training images: ``vectors`` (M, C), of length 1, and the ``captions`` of each.

    G is the number of n-grams that are estimated.
    """

    def __init__(self, vectors: Tensor, captions: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies) -> None:
        self._frequencies = frequencies
        images = Counter(gram for of_image in captions for gram in {g for words in of_image for g in ngrams(words)})
        self._images = {gram: n for gram, n in images.items() if n >= MIN_IMAGES}
        self._index = {gram: i for i, gram in enumerate(sorted(self._images))}
        self._targets = target_matrix(captions, frequencies, self._index)
        self._mean = torch.sparse.sum(self._targets, 1).to_dense() / len(captions)  # (G,)
        self._vectors = vectors
        covariance = vectors.T @ vectors + PENALTY * torch.eye(vectors.shape[1])
        self._factor = torch.linalg.cholesky(covariance)

    def predict(self, vectors: Tensor) -> Tensor:
        """vectors (B, C) of images → the expected tf-idf vectors of their captions (B, G)."""
        weights = self._vectors @ torch.cholesky_solve(vectors.T, self._factor)  # (M, B): of each training image
        expected: Tensor = torch.sparse.mm(self._targets, weights) + self._mean.unsqueeze(1) * (1 - weights.sum(0))
        return expected.T

    def scores(self, vectors: Tensor, candidates: Sequence[Sequence[Tokens]]) -> list[list[float]]:
        """The expected score, at most 10, of each candidate of each image; vectors (B, C)."""
        expected = self.predict(vectors)
        return [
            [ngram_score(words, row, self._index, self._frequencies) for words in of_image]
            for row, of_image in zip(expected.tolist(), candidates, strict=True)
        ]

    def reduced(self, rank: int, min_images: int) -> tuple[list[Gram], Tensor, Tensor, Tensor]:
        """The regression as a matrix of low rank, for the n-grams of at least ``min_images`` training images.

        Returns the G n-grams and ``down`` (C, rank), ``up`` (rank, G), ``bias`` (G,): for vectors (B, C)
        :meth:`predict` is approximately ``vectors @ down @ up + bias``. Of all matrices of this rank it is the one
        whose predictions for the training images differ least.
        """
        grams = sorted(gram for gram in self._index if self._images[gram] >= min_images)
        rows = torch.tensor([self._index[gram] for gram in grams], dtype=torch.long)
        targets, mean = self._targets.index_select(0, rows), self._mean[rows]
        products = torch.sparse.mm(targets, self._vectors) - mean.unsqueeze(1) * self._vectors.sum(0)  # (G, C)
        # With the covariance L Lᵀ and W the regression, the predictions' covariance is that of Lᵀ W = L⁻¹ products.
        whitened = torch.linalg.solve_triangular(self._factor, products.T, upper=False)  # (C, G)
        _, directions = torch.linalg.eigh(whitened @ whitened.T)
        leading = directions[:, -rank:]
        down = torch.linalg.solve_triangular(self._factor.T, leading, upper=True)
        return grams, down, leading.T @ whitened, mean


def ngram_score(
    words: Tokens, expected: Sequence[float], index: Mapping[Gram, int], frequencies: DocumentFrequencies
) -> float:
    """The score of a caption, at most 10, against the ``expected`` (G,) tf-idf vector of an image's captions.

    ``index``: the place of each of the G n-grams.
    """
    return 10 / ORDERS * sum(x * expected[i] for i, x in _entries(words, frequencies, index))


def target_matrix(
    captions: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies, index: Mapping[Gram, int]
) -> Tensor:
    """(G, M), sparse: the mean tf-idf vector of each of M images' captions, for the G n-grams of ``index``."""
    rows, columns, values = array("q"), array("q"), array("f")
    for image, of_image in enumerate(captions):
        for row, x in (entry for words in of_image for entry in _entries(words, frequencies, index)):
            rows.append(row)
            columns.append(image)
            values.append(x / len(of_image))
    indices, size = torch.tensor([rows, columns], dtype=torch.int64), (len(index), len(captions))
    return torch.sparse_coo_tensor(indices, torch.tensor(values), size, check_invariants=True).coalesce()


def _entries(words: Tokens, frequencies: DocumentFrequencies, index: Mapping[Gram, int]) -> list[tuple[int, float]]:
    """The non-zero entries of a caption's tf-idf vector, as (index, value)."""
    return [(index[gram], x) for gram, x in unit_vector(words, frequencies).items() if gram in index]
