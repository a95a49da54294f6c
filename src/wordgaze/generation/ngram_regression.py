"""What n-grams the captions of a picture are expected to hold: ridge regression from pictures to captions.

CIDEr as first defined is linear in a reference: the product of two vectors of tf-idf. So what a caption may expect to
score against captions that nobody has written yet is its score against their expected vector, and that vector is what a
regression foretells (Hoerl and Kennard 1970, "Ridge Regression"; the kernel form is that of Saunders et al. 1998).
"""

from array import array
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import DocumentFrequencies, unit_vector
from wordgaze.metrics.ngrams import ORDERS, ngrams

PENALTY = 0.3  # of the regression: rows have length 1, and dev chose it among .1, .3, 1 and 3
SEEN = 3  # training pictures that have an n-gram, at the least


class NgramRegression:
    """``vectors`` (M, C), of length 1, are the training pictures; ``captions`` those of each of them."""

    def __init__(self, vectors: Tensor, captions: Sequence[Sequence[Tokens]], frequencies: DocumentFrequencies) -> None:
        self._frequencies = frequencies
        having = Counter(gram for of_one in captions for gram in {gram for words in of_one for gram in ngrams(words)})
        self._place = {gram: place for place, gram in enumerate(sorted(g for g, n in having.items() if n >= SEEN))}
        self._said = self._sparse(captions)
        self._mean = torch.sparse.sum(self._said, 1).to_dense() / len(captions)
        self._vectors = vectors
        covariance = vectors.T @ vectors + PENALTY * torch.eye(vectors.shape[1])
        self._factor = torch.linalg.cholesky(covariance)

    def of(self, vectors: Tensor) -> Tensor:
        """The expected vectors (B, G) of pictures (B, C)."""
        weights = self._vectors @ torch.cholesky_solve(vectors.T, self._factor)  # (M, B): of each training picture
        expected: Tensor = torch.sparse.mm(self._said, weights) + self._mean.unsqueeze(1) * (1 - weights.sum(0))
        return expected.T

    def score(self, expected: Tensor, candidates: Sequence[Tokens]) -> list[float]:
        """What each candidate may expect to score, up to 10, where ``expected`` (G,) is what the picture's captions
        are expected to hold."""
        known = expected.tolist()
        return [10 / ORDERS * sum(x * known[place] for place, x in self._entries(words)) for words in candidates]

    def _entries(self, words: Tokens) -> list[tuple[int, float]]:
        vector = unit_vector(words, self._frequencies)
        return [(self._place[gram], x) for gram, x in vector.items() if gram in self._place]

    def _sparse(self, captions: Sequence[Sequence[Tokens]]) -> Tensor:
        """(G, M): the mean vector of each picture's captions."""
        places, pictures, values = array("q"), array("q"), array("f")
        for picture, of_one in enumerate(captions):
            for place, x in (entry for words in of_one for entry in self._entries(words)):
                places.append(place)
                pictures.append(picture)
                values.append(x / len(of_one))
        indices, size = torch.tensor([places, pictures]), (len(self._place), len(captions))
        return torch.sparse_coo_tensor(indices, torch.tensor(values), size, check_invariants=True).coalesce()
