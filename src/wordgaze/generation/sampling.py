"""Sampling: words are drawn from what the model gives, narrowed by temperature, top-k, nucleus, typical and min-p.

A draw depends on the seed, the picture's key, the number of the sample and the place of the word alone, so the same
captions come out whatever else is in the batch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.hypotheses import Hypothesis, HypothesisTree
from wordgaze.generation.logits_process import LogitsProcessor
from wordgaze.text.vocabulary import END


def sample(
    tree: HypothesisTree,
    constraints: LogitsProcessor,
    params: GenerationConfig,
    num: int,
    keys: Sequence[str],
    seed: int,
) -> list[list[Hypothesis]]:
    """``num`` hypotheses of each picture in the order of their drawing; ``keys`` name the pictures."""
    draws = _draws(keys, num, params.max_new_tokens, seed).to(tree.device)  # (pictures, num, max_new_tokens)
    hypotheses: list[dict[int, Hypothesis]] = [{} for _ in range(tree.count)]
    number = torch.arange(num, device=tree.device).repeat(tree.count)  # which sample a row is
    for t in range(tree.begun, params.max_new_tokens):
        log_probs = tree.expand()
        free = log_probs.clone()
        constraints.strike(free, tree.words)
        rows = torch.arange(len(free), device=tree.device)
        if not tree.parted:  # all samples of a picture start from one row
            rows = rows.repeat_interleave(num)
        possible = (free > -torch.inf).any(1)[rows]
        _collect(hypotheses, tree, rows[~possible], number[~possible], None)
        rows, number = rows[possible], number[possible]
        if not len(rows):
            break
        words = draw(narrow(free, params), rows, draws[tree.picture[rows], number, t])
        ended = words == END
        _collect(hypotheses, tree, rows[ended], number[ended], log_probs[:, END])
        rows, number, words = rows[~ended], number[~ended], words[~ended]
        tree.grow(rows, words, log_probs[rows, words], apart=tree.parted)
        if not len(rows):
            break
    else:
        tree.finish()
        for row, (picture, n, total) in enumerate(
            zip(tree.picture.tolist(), number.tolist(), tree.total.tolist(), strict=True)
        ):
            hypotheses[picture][n] = Hypothesis(params.max_new_tokens, row, None, total, "length")
    return [[of_one[n] for n in range(num)] for of_one in hypotheses]


def narrow(log_probs: Tensor, params: GenerationConfig) -> Tensor:
    """The distribution that words are drawn from: log_probs (N, V) → probabilities (N, V), each row's sum 1.

    Temperature first; then each filter takes what the one before it has left, its probabilities made to sum to 1:
    the top_k likeliest; the nucleus, the fewest likeliest with a sum of top_p (Holtzman et al. 2020); the fewest most
    typical with a sum of typical_p, whose surprise is closest to the expected one (Meister et al. 2023); those with
    at least min_p of the likeliest one's probability (Nguyen et al. 2024).
    """
    if params.temperature == 0:
        return torch.zeros_like(log_probs).scatter(1, log_probs.argmax(1, keepdim=True), 1.0)
    probs = torch.softmax(log_probs / params.temperature, dim=1)
    if 0 < params.top_k < probs.shape[1]:
        probs = _keep(probs, probs >= probs.topk(params.top_k, dim=1).values[:, -1:])
    if params.top_p < 1:
        probs = _keep(probs, _fewest(probs, probs, params.top_p))
    if params.typical_p < 1:
        surprise = -torch.log(probs)
        expected = torch.special.entr(probs).sum(1, keepdim=True)
        atypical = (surprise - expected).abs().masked_fill(probs == 0, torch.inf)
        probs = _keep(probs, _fewest(probs, -atypical, params.typical_p))
    if params.min_p > 0:
        probs = _keep(probs, probs >= params.min_p * probs.amax(1, keepdim=True))
    return probs


def draw(probs: Tensor, rows: Tensor, uniform: Tensor) -> Tensor:
    """A word for each of ``rows`` (M,) by the inverse of the distribution of its row; uniform (M,) in [0, 1)."""
    cumulated = probs.double().cumsum(1)
    whole = cumulated[rows, -1]
    target = torch.minimum(uniform * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    return torch.searchsorted(cumulated[rows], target.unsqueeze(1), right=True).squeeze(1)


def _keep(probs: Tensor, kept: Tensor) -> Tensor:
    probs = probs * kept
    return probs / probs.sum(1, keepdim=True)


def _fewest(probs: Tensor, preference: Tensor, mass: float) -> Tensor:
    """The fewest words, in the order of preference, whose probabilities sum to ``mass``; at least one. (N, V)"""
    size = min(64, probs.shape[1])
    while True:  # a sort of the whole vocabulary is seldom needed
        order = preference.topk(size, dim=1).indices
        ranked = probs.gather(1, order)
        before = ranked.cumsum(1) - ranked
        if size == probs.shape[1] or bool((before[:, -1] >= mass).all()):
            break
        size = min(4 * size, probs.shape[1])
    kept = before < mass
    kept[:, 0] = True
    return torch.zeros_like(probs, dtype=torch.bool).scatter(1, order, kept)


def _draws(keys: Sequence[str], num: int, length: int, seed: int) -> Tensor:
    draws = np.empty((len(keys), num, length))
    for i, key in enumerate(keys):
        for n in range(num):
            digest = hashlib.sha256(f"{seed}\0{n}\0{key}".encode()).digest()
            draws[i, n] = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16]))).random(length)
    return torch.from_numpy(draws)


def _collect(
    hypotheses: list[dict[int, Hypothesis]], tree: HypothesisTree, rows: Tensor, number: Tensor, end: Tensor | None
) -> None:
    """The ends of these hypotheses: ended by END, whose log-probabilities ``end`` (N,) are; else stuck."""
    if not len(rows):
        return
    picture, totals, level = tree.picture[rows].tolist(), tree.total[rows].tolist(), tree.words.shape[1]
    ends = [None] * len(rows) if end is None else end[rows].tolist()
    for row, n, of, total, last in zip(rows.tolist(), number.tolist(), picture, totals, ends, strict=True):
        whole = total if last is None else total + last
        hypotheses[of][n] = Hypothesis(level, row, last, whole, "stuck" if last is None else "end")
