"""The training pictures that look most like a picture, and which of its candidates their captions speak for.

A decoder knows what it was trained on by its weights alone, and after training for the score it is sure of itself. The
captions of similar pictures are evidence of another kind: of the captions that a beam search finds, the one is taken
that is likely and that they agree with (Devlin et al. 2015, "Exploring Nearest Neighbor Approaches for Image
Captioning"; Mao et al. 2015, "Learning like a Child", section 6.1). The nearest few know what is seldom; what all of
them together foretell (``expectation``) is surer of what is frequent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from wordgaze.core.errors import ModelError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.ngram_regression import NgramRegression
from wordgaze.generation.outputs import Caption
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.cider import Cider, DocumentFrequencies, document_frequencies
from wordgaze.text.vocabulary import PAD, UNK, Vocabulary

MOST = 10_000  # training pictures that are kept, from all over the data set: with 1,280 channels 25 MB

Judge = Callable[[int, Sequence[Tokens]], Iterable[float]]  # of captions of the picture at a place, how good they are


class NeighbourReranker:
    """``mean`` and ``scale`` (C,) standardise the mean feature of a picture; ``vectors`` (M, C), of length 1, are those
    of the training pictures, ``captions`` (M, R, T) their words, padded with PAD."""

    def __init__(self, vocabulary: Vocabulary, mean: Tensor, scale: Tensor, vectors: Tensor, captions: Tensor) -> None:
        self.vocabulary = vocabulary
        self.mean, self.scale, self.vectors, self.captions = mean, scale, vectors, captions

    @classmethod
    def of(cls, means: Tensor, captions: Sequence[Sequence[Tokens]], vocabulary: Vocabulary) -> "NeighbourReranker":
        """From the mean features (M, C) of training pictures and their captions."""
        deviation, mean = torch.std_mean(means, dim=0, correction=0)
        scale = 1 / (deviation + 1e-4)
        longest = max(len(words) for of_one in captions for words in of_one)
        indices = torch.full((len(captions), max(map(len, captions)), longest), PAD, dtype=torch.int32)
        for place, of_one in zip(indices, captions, strict=True):
            for row, words in zip(place, of_one, strict=False):
                row[: len(words)] = torch.tensor([vocabulary.index.get(word, UNK) for word in words])
        vectors = normalize((means - mean) * scale, dim=1).half()
        return cls(vocabulary, mean, scale, vectors, indices)

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> "NeighbourReranker | None":
        """What :meth:`tensors` gave; None of nothing. Raises KeyError where a part is missing."""
        if not tensors:
            return None
        return cls(vocabulary, *(tensors[name] for name in ("mean", "scale", "vectors", "captions")))

    def tensors(self) -> dict[str, Tensor]:
        """What has to be stored."""
        return {"mean": self.mean, "scale": self.scale, "vectors": self.vectors, "captions": self.captions}

    def choose(
        self, features: Tensor, found: Sequence[Sequence[Caption]], params: GenerationConfig
    ) -> list[list[Caption]]:
        """The ``params.num_return_sequences`` best candidates of each picture; features (B, L, C).

        ``score`` is the candidate's own plus ``params.neighbour_weight`` times its CIDEr, 0…10, against the captions of
        the ``params.num_neighbours`` nearest pictures, plus ``params.regression_weight`` times the CIDEr that it may expect.
        """
        looks, judges = self._standardised(features), list[tuple[float, Judge]]()
        if params.neighbour_weight:
            judges.append((params.neighbour_weight, self._agreed(looks, params.num_neighbours)))
        if params.regression_weight:
            judges.append((params.regression_weight, self._foretold(looks)))
        return [_best(of_one, place, judges, params.num_return_sequences) for place, of_one in enumerate(found)]

    def nearest(self, features: Tensor, count: int) -> list[list[int]]:
        """The places of the ``count`` training pictures nearest to each picture, by cosine, the nearest first."""
        return self._alike(self._standardised(features), count)

    def _alike(self, looks: Tensor, count: int) -> list[list[int]]:
        nearest: list[list[int]] = (looks @ self._vectors.T).topk(min(count, len(self.vectors))).indices.tolist()
        return nearest

    def _agreed(self, looks: Tensor, count: int) -> Judge:
        metric = Cider([self._captions(row) for row in self._alike(looks, count)], self._frequencies)
        return lambda place, said: metric.reward([place] * len(said), said)

    def _foretold(self, looks: Tensor) -> Judge:
        expected = self._expectation.of(looks)
        return lambda place, said: self._expectation.score(expected[place], said)

    def _standardised(self, features: Tensor) -> Tensor:
        means = features.float().mean(1).cpu()
        if means.shape[1] != len(self.mean):
            raise ModelError(f"features of {means.shape[1]} channels are compared with pictures of {len(self.mean)}")
        return normalize((means - self.mean) * self.scale, dim=1)

    def _captions(self, places: Sequence[int]) -> list[Tokens]:
        return [words for place in places for words in self._every[place]]

    def _words(self, place: int) -> list[Tokens]:
        rows = self.captions[place].tolist()
        said = [tuple(self.vocabulary.words[i] for i in row if i != PAD) for row in rows]
        return [words for words in said if words]

    @cached_property
    def _vectors(self) -> Tensor:
        return self.vectors.float()

    @cached_property
    def _every(self) -> list[list[Tokens]]:
        return [self._words(place) for place in range(len(self.captions))]

    @cached_property
    def _frequencies(self) -> DocumentFrequencies:
        return document_frequencies(self._every)

    @cached_property
    def _expectation(self) -> NgramRegression:
        return NgramRegression(self._vectors, self._every, self._frequencies)


def _best(found: Sequence[Caption], place: int, judges: Sequence[tuple[float, Judge]], count: int) -> list[Caption]:
    """The ``count`` best captions of a picture by their own scores and what the judges add."""
    said = [caption.words for caption in found]
    scores = [caption.score for caption in found]
    for weight, judge in judges:
        scores = [score + weight * float(more) for score, more in zip(scores, judge(place, said), strict=True)]
    scored = [replace(caption, score=score) for caption, score in zip(found, scores, strict=True)]
    return sorted(scored, key=lambda caption: (-caption.score, -caption.log_prob))[:count]
