"""Principal component regression from an image to the n-grams of its captions (Massy 1965).

What ``NgramRegression`` computes from the features and the captions of all training images, in a few numbers for each
frequent n-gram, so that a captioner without training images estimates how well a caption will score.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from wordgaze.core.stored_tensors import checked_ids, checked_tensors
from wordgaze.generation.ngram_regression import PENALTY, target_matrix
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import unit_vector
from wordgaze.metrics.document_frequencies import DocumentFrequencies, document_frequencies
from wordgaze.metrics.ngrams import ORDERS, Gram, ngrams
from wordgaze.text.vocabulary import PAD, SPECIAL, Vocabulary

MIN_FREQUENCY = 20
"""An n-gram is estimated if the captions of at least so many training images have it. With 5 there are five times as
many n-grams in Flickr8k, and the estimates are no better."""


class PrincipalRegression:
    """Estimates the tf-idf of G n-grams from K coordinates of an image.

    ``grams`` (G, 4) are the n-grams as token ids, padded with PAD; ``idf`` (G,) their inverse document frequencies;
    ``bias`` (G,) the mean tf-idf of the training images' captions; ``weights`` (G, K) what the coordinates add to it.
    """

    def __init__(self, vocabulary: Vocabulary, grams: Tensor, idf: Tensor, bias: Tensor, weights: Tensor) -> None:
        self.vocabulary, self.grams, self.idf, self.bias, self.weights = vocabulary, grams, idf, bias, weights

    @classmethod
    def fit(
        cls, coordinates: Tensor, captions: Sequence[Sequence[Tokens]], vocabulary: Vocabulary
    ) -> "PrincipalRegression":
        """From the coordinates (M, K) of training images and the captions of each."""
        frequencies = document_frequencies(captions)
        images = Counter(gram for of_image in captions for gram in {g for words in of_image for g in ngrams(words)})
        known = vocabulary.index.keys() - set(SPECIAL)
        grams = sorted(gram for gram, n in images.items() if n >= MIN_FREQUENCY and known.issuperset(gram))
        targets = target_matrix(captions, frequencies, {gram: i for i, gram in enumerate(grams)})  # (G, M)
        bias = torch.sparse.sum(targets, 1).to_dense() / len(captions)
        covariance = coordinates.T @ coordinates + PENALTY * torch.eye(coordinates.shape[1])
        inverse = torch.linalg.solve(covariance, coordinates.T)  # (K, M)
        weights = torch.sparse.mm(targets, inverse.T.contiguous()) - torch.outer(bias, inverse.sum(1))
        token_ids = torch.full((len(grams), ORDERS), PAD, dtype=torch.int32)
        for row, gram in zip(token_ids, grams, strict=True):
            row[: len(gram)] = torch.tensor([vocabulary.index[word] for word in gram])
        idf = torch.tensor([frequencies.idf[gram] for gram in grams])
        return cls(vocabulary, token_ids, idf, bias.half(), weights.half())

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> "PrincipalRegression":
        """From what :meth:`tensors` returned. Raises KeyError or ValueError as :func:`checked_tensors`."""
        shapes = {"grams": f"G {ORDERS}", "idf": "G", "bias": "G", "weights": "G K"}
        grams, *others = checked_tensors(tensors, shapes)
        return cls(vocabulary, checked_ids("grams", grams, len(vocabulary)), *others)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to be stored."""
        return {"grams": self.grams, "idf": self.idf, "bias": self.bias, "weights": self.weights}

    @cached_property
    def frequencies(self) -> DocumentFrequencies:
        """The idf of the estimated n-grams. All others count as frequent as the rarest of these."""
        idf: list[float] = self.idf.tolist()
        return DocumentFrequencies(dict(zip(self._index, idf, strict=True)), max(idf, default=1.0))

    def score(self, coordinates: Tensor, words: Tokens) -> float:
        """The expected similarity, at most 10, of a caption with the references of the image at ``coordinates`` (K,).

        The similarity is that by which CIDEr was first defined (Vedantam et al. 2015, equation 2).
        """
        vector = {self._index[g]: x for g, x in unit_vector(words, self.frequencies).items() if g in self._index}
        if not vector:
            return 0.0
        rows = torch.tensor(list(vector))
        expected = self.weights[rows].float() @ coordinates + self.bias[rows].float()
        return float(expected @ torch.tensor(list(vector.values()))) * 10 / ORDERS

    @cached_property
    def _index(self) -> dict[Gram, int]:
        words = self.vocabulary.words
        return {tuple(words[t] for t in row if t != PAD): i for i, row in enumerate(self.grams.tolist())}
