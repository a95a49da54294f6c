"""Logits warpers: the distribution that sampling draws words from.

``TemperatureLogitsWarper`` turns log-probabilities into probabilities; each other warper takes probabilities (N, V),
removes words and scales the rest so that each row sums to 1 again.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from wordgaze.generation.config import GenerationConfig


class LogitsWarper(Protocol):
    """Removes improbable words from a distribution."""

    def __call__(self, probs: Tensor) -> Tensor:
        """probs (N, V), each row of sum 1 → the same, with the probability of the removed words 0."""
        ...


class TemperatureLogitsWarper:
    """softmax(log_probs / temperature); at temperature 0 the most probable word has probability 1."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, log_probs: Tensor) -> Tensor:
        """log_probs (N, V) → probabilities (N, V)."""
        if self.temperature == 0:
            return torch.zeros_like(log_probs).scatter(1, log_probs.argmax(1, keepdim=True), 1.0)
        return torch.softmax(log_probs / self.temperature, dim=1)


class TopKLogitsWarper:
    """Keeps the ``top_k`` most probable words, and others with the same probability as the last of them."""

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k

    def __call__(self, probs: Tensor) -> Tensor:
        if self.top_k >= probs.shape[1]:
            return probs
        return _keep(probs, probs >= probs.topk(self.top_k, dim=1).values[:, -1:])


class TopPLogitsWarper:
    """Keeps the nucleus: the fewest most probable words whose probabilities sum to ``top_p`` (Holtzman et al. 2020)."""

    def __init__(self, top_p: float) -> None:
        self.top_p = top_p

    def __call__(self, probs: Tensor) -> Tensor:
        return _keep(probs, _smallest_set(probs, probs, self.top_p))


class TypicalPLogitsWarper:
    """Keeps the fewest words with a sum of ``typical_p`` whose information content is closest to the entropy
    (Meister et al. 2023)."""

    def __init__(self, typical_p: float) -> None:
        self.typical_p = typical_p

    def __call__(self, probs: Tensor) -> Tensor:
        information = -torch.log(probs)
        entropy = torch.special.entr(probs).sum(1, keepdim=True)
        distance = (information - entropy).abs().masked_fill(probs == 0, torch.inf)
        return _keep(probs, _smallest_set(probs, -distance, self.typical_p))


class MinPLogitsWarper:
    """Keeps the words with at least ``min_p`` times the probability of the most probable one (Nguyen et al. 2024)."""

    def __init__(self, min_p: float) -> None:
        self.min_p = min_p

    def __call__(self, probs: Tensor) -> Tensor:
        return _keep(probs, probs >= self.min_p * probs.amax(1, keepdim=True))


class LogitsWarperList:
    """The temperature, then the other warpers in order."""

    def __init__(self, temperature: TemperatureLogitsWarper, warpers: Sequence[LogitsWarper]) -> None:
        self.temperature, self.warpers = temperature, tuple(warpers)

    def __call__(self, log_probs: Tensor) -> Tensor:
        """log_probs (N, V) → the probabilities that words are drawn with (N, V), each row of sum 1."""
        probs = self.temperature(log_probs)
        for warper in self.warpers:
            probs = warper(probs)
        return probs


def build_logits_warpers(config: GenerationConfig) -> LogitsWarperList:
    """The warpers that ``config`` asks for: temperature, top_k, top_p, typical_p, min_p. At temperature 0 one word is
    left, and no other warper is applied."""
    warpers: list[LogitsWarper] = []
    if config.temperature and config.top_k:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.temperature and config.top_p < 1:
        warpers.append(TopPLogitsWarper(config.top_p))
    if config.temperature and config.typical_p < 1:
        warpers.append(TypicalPLogitsWarper(config.typical_p))
    if config.temperature and config.min_p:
        warpers.append(MinPLogitsWarper(config.min_p))
    return LogitsWarperList(TemperatureLogitsWarper(config.temperature), warpers)


def _keep(probs: Tensor, kept: Tensor) -> Tensor:
    probs = probs * kept
    return probs / probs.sum(1, keepdim=True)


def _smallest_set(probs: Tensor, preference: Tensor, mass: float) -> Tensor:
    """(N, V): True for the fewest words, by descending ``preference``, with a sum of ``probs`` of ``mass``; at least
    one."""
    size = min(64, probs.shape[1])
    while True:  # sorting the whole vocabulary is rarely needed
        order = preference.topk(size, dim=1).indices
        ranked = probs.gather(1, order)
        before = ranked.cumsum(1) - ranked
        if size == probs.shape[1] or bool((before[:, -1] >= mass).all()):
            break
        size = min(4 * size, probs.shape[1])
    kept = before < mass
    kept[:, 0] = True
    return torch.zeros_like(probs, dtype=torch.bool).scatter(1, order, kept)
