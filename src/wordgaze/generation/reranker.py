"""Reranking: choosing among the candidates that a search or sampling has found."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption


class Reranker(Protocol):
    """Gives candidates new scores."""

    def rerank(
        self, candidates: Sequence[Sequence[Caption]], features: Tensor, config: GenerationConfig
    ) -> list[list[Caption]]:
        """The ``config.num_return_sequences`` best candidates of each of B images, best first, with new scores.

        ``candidates[i]`` are those of image i, whose features are ``features[i]``; features (B, L, D).
        """
        ...


def best_first(captions: Sequence[Caption], num_return_sequences: int) -> list[Caption]:
    """The ``num_return_sequences`` captions with the highest scores; of equal scores the more probable one is first."""
    return sorted(captions, key=lambda caption: (-caption.score, -caption.log_prob))[:num_return_sequences]


def rescored(
    candidates: Sequence[Sequence[Caption]],
    evidence: Sequence[tuple[float, Sequence[Sequence[float]]]],
    num_return_sequences: int,
) -> list[list[Caption]]:
    """The ``num_return_sequences`` best candidates of each image after ``evidence`` was added to their scores.

    ``evidence``: weights, each with a score of every candidate of every image.
    """
    scores = [[caption.score for caption in of_image] for of_image in candidates]
    for weight, more in evidence:
        scores = [
            [x + weight * y for x, y in zip(*of_image, strict=True)] for of_image in zip(scores, more, strict=True)
        ]
    return [
        best_first(
            [replace(caption, score=score) for caption, score in zip(*of_image, strict=True)], num_return_sequences
        )
        for of_image in zip(candidates, scores, strict=True)
    ]
