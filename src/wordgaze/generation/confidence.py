"""The confidence of a caption: the calibrated probability that it is right.

A linear regression estimates the CIDEr of a caption from the log-probabilities of its words, from how rare they are and
from how well the caption agrees with what a regression on the training images expects of the image. The estimate is
made a probability by Platt scaling (Platt 1999). Both are fitted to the captions of the dev split, which the decoder
was not trained on. A caption is right if half of its content words occur in a reference (``captions_right``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wordgaze.core.stored_tensors import checked_tensors
from wordgaze.generation.image_statistics import ImageStatistics
from wordgaze.generation.outputs import Caption
from wordgaze.generation.principal_regression import PrincipalRegression
from wordgaze.metrics.base import Tokens
from wordgaze.metrics.calibration import captions_right, platt_scaling
from wordgaze.metrics.cider import Cider
from wordgaze.text.vocabulary import Vocabulary

OUTLIERS = 0.05
"""The share of the dev images that count as outliers: it sets ``outlier_threshold``."""

_EXPECTED = 6  # the place of the expected score among the signals
_NUM_SIGNALS = 7
_EXPECTED_WEIGHT = 0.5  # of the expected score in an image's outlier score; both are in standard deviations
_PENALTY = 10.0  # λ of the regression on standardised signals
_EPSILON = 1e-3  # added to a standard deviation, which may be 0


class ConfidenceModel:
    """Estimates how good captions are; ``images`` and ``ngrams`` describe the training images.

    ``signals`` (3, S) are the mean, the scale and the weight of each signal, ``calibration`` (2,) the slope and the
    intercept of the logistic function, and ``outliers`` (3,) the mean and the scale of the distance from the training
    images, and the threshold of :meth:`outlier_scores`.
    """

    def __init__(
        self,
        images: ImageStatistics,
        ngrams: PrincipalRegression,
        signals: Tensor,
        calibration: Tensor,
        outliers: Tensor,
    ) -> None:
        self.images, self.ngrams = images, ngrams
        self.signals, self.calibration, self.outliers = signals, calibration, outliers

    @classmethod
    def fit(
        cls,
        images: ImageStatistics,
        ngrams: PrincipalRegression,
        means: Tensor,
        captions: Sequence[Caption],
        references: Sequence[Sequence[Tokens]],
    ) -> "ConfidenceModel":
        """From the mean features (N, C), the captions and the references of N images of the dev split."""
        coordinates, distances = images.project(means)
        signals = torch.stack([_signals(*pair, ngrams) for pair in zip(coordinates, captions, strict=True)])
        words = [caption.words for caption in captions]
        deviation, mean = torch.std_mean(signals, dim=0, correction=0)
        scale = 1 / (deviation + _EPSILON)
        standardised = (signals - mean) * scale
        weight = _ridge(standardised, torch.tensor(Cider(references).per_image(words)))
        right = captions_right(words, references, ngrams.vocabulary.function_words)
        calibration = torch.tensor(platt_scaling((standardised @ weight).numpy(), right))
        deviation, mean_distance = torch.std_mean(distances, correction=0)
        outliers = torch.stack([mean_distance, 1 / (deviation + _EPSILON), torch.zeros(())])
        model = cls(images, ngrams, torch.stack([mean, scale, weight]), calibration, outliers)
        outliers[2] = torch.quantile(model._outlier_scores(signals, distances), 1 - OUTLIERS)
        return model

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], vocabulary: Vocabulary) -> "ConfidenceModel | None":
        """From what :meth:`tensors` returned; None if ``tensors`` is empty.

        Raises KeyError if a tensor is missing, and ValueError for one that does not fit the others.
        """
        if not tensors:
            return None
        images = ImageStatistics.load(_inside(tensors, "images."))
        ngrams = PrincipalRegression.load(_inside(tensors, "ngrams."), vocabulary)
        if ngrams.weights.shape[1] != len(images.components):
            raise ValueError("ngrams.weights does not fit images.components")
        shapes = {"signals": f"3 {_NUM_SIGNALS}", "calibration": "2", "outliers": "3"}
        return cls(images, ngrams, *checked_tensors(tensors, shapes))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to be stored."""
        return {
            **{f"images.{name}": tensor for name, tensor in self.images.tensors().items()},
            **{f"ngrams.{name}": tensor for name, tensor in self.ngrams.tensors().items()},
            "signals": self.signals,
            "calibration": self.calibration,
            "outliers": self.outliers,
        }

    @property
    def outlier_threshold(self) -> float:
        """The outlier score that 5 % of the dev images exceed."""
        return float(self.outliers[2])

    def assign(self, captions: Sequence[Sequence[Caption]], features: Tensor) -> list[list[Caption]]:
        """The captions of B images, each with its ``confidence`` and ``is_outlier``; features (B, L, C).

        Raises ModelError if the features have another number of channels.
        """
        coordinates, distances = self.images.project(features.float().mean(1).cpu())
        return [self._assigned(*image) for image in zip(coordinates, distances, captions, strict=True)]

    def outlier_scores(self, captions: Sequence[Caption], features: Tensor) -> list[float]:
        """How much each of B images, with its best caption, differs from the training images; features (B, L, C).

        The distance from the training images minus half the expected score of the caption, both in standard deviations
        of the dev split. Raises ModelError if the features have another number of channels.
        """
        if not captions:
            return []
        coordinates, distances = self.images.project(features.float().mean(1).cpu())
        signals = torch.stack([_signals(*pair, self.ngrams) for pair in zip(coordinates, captions, strict=True)])
        scores: list[float] = self._outlier_scores(signals, distances).tolist()
        return scores

    def _assigned(self, coordinates: Tensor, distance: Tensor, captions: Sequence[Caption]) -> list[Caption]:
        """The captions of the image at ``coordinates`` (K,), best first."""
        if not captions:
            return []
        signals = [_signals(coordinates, caption, self.ngrams) for caption in captions]
        is_outlier = float(self._outlier_scores(signals[0][None], distance[None])) > self.outlier_threshold
        return [
            replace(caption, confidence=self._confidence(of_caption), is_outlier=is_outlier)
            for caption, of_caption in zip(captions, signals, strict=True)
        ]

    def _confidence(self, signals: Tensor) -> float:
        mean, scale, weight = self.signals
        estimate = ((signals - mean) * scale) @ weight
        slope, intercept = self.calibration
        return float(torch.sigmoid(slope * estimate + intercept))

    def _outlier_scores(self, signals: Tensor, distances: Tensor) -> Tensor:
        mean, scale, _ = self.signals
        expected = ((signals - mean) * scale)[:, _EXPECTED]
        scores: Tensor = (distances - self.outliers[0]) * self.outliers[1] - _EXPECTED_WEIGHT * expected
        return scores


def _signals(coordinates: Tensor, caption: Caption, ngrams: PrincipalRegression) -> Tensor:
    """(S,): what the quality of a caption of the image at ``coordinates`` (K,) is estimated from."""
    log_probs = caption.word_log_probs or (caption.log_prob,)
    function_words = ngrams.vocabulary.function_words
    content = [i for i, word in enumerate(caption.words) if word not in function_words]
    idf, unseen = ngrams.frequencies
    return torch.tensor(
        [
            caption.log_prob,
            caption.log_prob / (len(caption.words) + 1),
            min(log_probs),
            _mean([log_probs[i] for i in content]) if content else caption.log_prob,
            len(caption.words),
            _mean([idf.get((caption.words[i],), unseen) for i in content]) if content else 0.0,
            ngrams.score(coordinates, caption.words),
        ]
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _ridge(inputs: Tensor, targets: Tensor) -> Tensor:
    """(S,): the weights of a ridge regression; inputs (N, S) with mean 0, targets (N,)."""
    x, y = inputs.double(), targets.double()
    penalty = _PENALTY * torch.eye(x.shape[1], dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(x.T @ x + penalty, x.T @ (y - y.mean()))
    return weights.float()


def _inside(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
