"""Sampling captions word by word.

A draw depends on the random seed, the key of the image, the number of the sample and the position of the word alone, so
the same captions are drawn whatever else is in the batch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.hypothesis_batch import Hypothesis, HypothesisBatch
from wordgaze.generation.logits_processor_list import LogitsProcessorList
from wordgaze.generation.logits_warpers import build_logits_warpers
from wordgaze.text.vocabulary import END


class Sampler:
    """Draws ``num_samples`` captions of each image of a batch; ``keys`` name the images."""

    def __init__(
        self,
        batch: HypothesisBatch,
        processors: LogitsProcessorList,
        config: GenerationConfig,
        num_samples: int,
        keys: Sequence[str],
        seed: int,
    ) -> None:
        self.batch, self.processors, self.num_samples = batch, processors, num_samples
        self.warpers, self.max_new_tokens = build_logits_warpers(config), config.max_new_tokens
        # (images, num_samples, max_new_tokens)
        self.uniform = _uniform_numbers(keys, num_samples, config.max_new_tokens, seed).to(batch.device)
        self.sample = torch.arange(num_samples, device=batch.device).repeat(batch.num_images)  # of each row: its number
        self.finished: list[dict[int, Hypothesis]] = [{} for _ in range(batch.num_images)]

    def run(self) -> list[list[Hypothesis]]:
        """``num_samples`` hypotheses of each image in the order of their numbers."""
        for position in range(self.batch.prefix_length, self.max_new_tokens):
            self._step(position)
            if not len(self.sample):
                break
        else:
            self._finish_at_max_length()
        return [[of_image[number] for number in range(self.num_samples)] for of_image in self.finished]

    def _step(self, position: int) -> None:
        batch = self.batch
        log_probs = batch.next_log_probs()
        allowed = self.processors(batch.token_ids, log_probs.clone(), batch.image)
        rows = torch.arange(len(allowed), device=batch.device)
        if not batch.has_generated:  # all samples of an image start from one hypothesis
            rows = rows.repeat_interleave(self.num_samples)
        possible = (allowed > -torch.inf).any(1)[rows]
        self._finish(rows[~possible], self.sample[~possible], None)
        rows, sample = rows[possible], self.sample[possible]
        if not len(rows):
            self.sample = sample
            return
        token_ids = draw_tokens(self.warpers(allowed), rows, self.uniform[batch.image[rows], sample, position])
        ended = token_ids == END
        self._finish(rows[ended], sample[ended], log_probs[:, END])
        rows, token_ids, self.sample = rows[~ended], token_ids[~ended], sample[~ended]
        batch.extend(rows, token_ids, log_probs[rows, token_ids], distinct_rows=batch.has_generated)

    def _finish(self, rows: Tensor, sample: Tensor, end_log_probs: Tensor | None) -> None:
        """These rows end: by END, whose log-probabilities of all rows are given (N,); else they are stuck."""
        batch, length = self.batch, self.batch.token_ids.shape[1]
        ends = [None] * len(rows) if end_log_probs is None else end_log_probs[rows].tolist()
        images, totals = batch.image[rows].tolist(), batch.sum_log_probs[rows].tolist()
        for row, number, image, total, end in zip(rows.tolist(), sample.tolist(), images, totals, ends, strict=True):
            score, reason = (total, "stuck") if end is None else (total + end, "end")
            self.finished[image][number] = Hypothesis(length, row, end, score, reason)  # type: ignore[arg-type]

    def _finish_at_max_length(self) -> None:
        batch = self.batch
        batch.close()
        rows = zip(batch.image.tolist(), self.sample.tolist(), batch.sum_log_probs.tolist(), strict=True)
        for row, (image, number, total) in enumerate(rows):
            self.finished[image][number] = Hypothesis(self.max_new_tokens, row, None, total, "length")


def draw_tokens(probs: Tensor, rows: Tensor, uniform: Tensor) -> Tensor:
    """Draws a token for each of ``rows`` (M,) of ``probs`` (N, V) by inverting the cumulative distribution.

    uniform (M,) in [0, 1) → token ids (M,). A token of probability 0 is never drawn.
    """
    cumulative = probs.double().cumsum(1)
    total = cumulative[rows, -1]
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative[rows], target.unsqueeze(1), right=True).squeeze(1)


def _uniform_numbers(keys: Sequence[str], num_samples: int, length: int, seed: int) -> Tensor:
    """(images, num_samples, length) in [0, 1)."""
    numbers = np.empty((len(keys), num_samples, length))
    for i, key in enumerate(keys):
        for n in range(num_samples):
            digest = hashlib.sha256(f"{seed}\0{n}\0{key}".encode()).digest()
            numbers[i, n] = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16]))).random(length)
    return torch.from_numpy(numbers)
