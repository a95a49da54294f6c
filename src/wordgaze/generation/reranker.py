"""Reranking: choosing among the candidates that a search or sampling has found."""

from collections.abc import Sequence
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


def best_first(captions: Sequence[Caption], num: int) -> list[Caption]:
    """The ``num`` captions with the highest scores; of equal scores the more probable caption comes first."""
    return sorted(captions, key=lambda caption: (-caption.score, -caption.log_prob))[:num]
