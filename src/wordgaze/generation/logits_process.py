"""Logits processors: which words may follow. Every strategy applies them before it chooses a word.

A processor sets the log-probabilities of the words that must not follow to minus infinity, in place, and returns them.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from wordgaze.text.vocabulary import END, PAD


class LogitsProcessor(Protocol):
    """Restricts the next word of each hypothesis."""

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        """token_ids (N, t), the hypotheses; log_probs (N, V) of their next token, changed in place and returned; image
        (N,), the image of each hypothesis."""
        ...


class BadWordsLogitsProcessor:
    """Tokens that never follow: PAD, START, UNK and ``bad_words``."""

    def __init__(self, token_ids: Sequence[int], device: torch.device) -> None:
        self.token_ids = torch.tensor(token_ids, device=device)

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        return log_probs.index_fill_(1, self.token_ids, -torch.inf)


class MinNewTokensLogitsProcessor:
    """No END before ``min_new_tokens`` words."""

    def __init__(self, min_new_tokens: int) -> None:
        self.min_new_tokens = min_new_tokens

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        if token_ids.shape[1] < self.min_new_tokens:
            log_probs[:, END] = -torch.inf
        return log_probs


class NoRepeatNGramLogitsProcessor:
    """No n-gram of ``size`` words occurs twice in a caption."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        length, n = token_ids.shape[1], self.size
        if length >= n:
            ngrams = token_ids.unfold(1, n, 1)  # (N, t-n+1, n)
            last = token_ids[:, length - n + 1 :].unsqueeze(1)  # (N, 1, n-1)
            rows, places = (ngrams[:, :, : n - 1] == last).all(2).nonzero(as_tuple=True)
            log_probs[rows, ngrams[rows, places, n - 1]] = -torch.inf
        return log_probs


class NoDanglingEndLogitsProcessor:
    """A caption does not end on one of ``token_ids``, neither by END nor at ``max_new_tokens``."""

    def __init__(self, token_ids: Sequence[int], max_new_tokens: int, device: torch.device) -> None:
        self.token_ids = torch.tensor(token_ids, dtype=torch.long, device=device)
        self.max_new_tokens = max_new_tokens

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        if token_ids.shape[1]:
            dangling = torch.isin(token_ids[:, -1], self.token_ids)
            log_probs[:, END] = log_probs[:, END].masked_fill(dangling, -torch.inf)
        if token_ids.shape[1] == self.max_new_tokens - 1:  # the next word is the last one
            log_probs[:, self.token_ids] = -torch.inf
        return log_probs


class ForceWordsLogitsProcessor:
    """END waits for the forced words, and the last places before ``max_new_tokens`` are kept for them.

    ``alternatives``: of each image, for each of its forced words, the token ids of which one must occur. m is the most
    forced words of an image; an image with fewer has the others from the start.
    ``token_ids`` (B, K) are all alternatives of an image, padded with PAD; ``membership`` (B, V, m) is True where a
    token is an alternative of a forced word.
    """

    def __init__(
        self,
        alternatives: Sequence[Sequence[Sequence[int]]],
        vocabulary_size: int,
        max_new_tokens: int,
        device: torch.device,
    ) -> None:
        self.num_words, self.max_new_tokens = max(map(len, alternatives)), max_new_tokens
        alternatives = [[*of_image, *[()] * (self.num_words - len(of_image))] for of_image in alternatives]
        flat = [[i for ids in of_image for i in ids] for of_image in alternatives]
        width = max(map(len, flat))
        self.token_ids = torch.tensor([ids + [PAD] * (width - len(ids)) for ids in flat], device=device)
        self.membership = torch.zeros(len(flat), vocabulary_size, self.num_words, dtype=torch.bool, device=device)
        self._free = torch.ones(len(flat), self.num_words, dtype=torch.bool, device=device)  # fulfilled by any caption
        for number, of_image in enumerate(alternatives):
            for word, ids in enumerate(of_image):
                self.membership[number, list(ids), word] = True
                self._free[number, word] = not ids

    def fulfilled(self, token_ids: Tensor, image: Tensor) -> Tensor:
        """token_ids (N, t), image (N,) → which forced words each hypothesis has, (N, m)."""
        return self.membership[image.unsqueeze(1), token_ids].any(dim=1) | self._free[image]

    def num_missing(self, token_ids: Tensor, image: Tensor) -> Tensor:
        """token_ids (N, t), image (N,) → the number of forced words that each hypothesis lacks, (N,)."""
        return (~self.fulfilled(token_ids, image)).sum(1)

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        missing = ~self.fulfilled(token_ids, image)  # (N, m)
        log_probs[:, END] = log_probs[:, END].masked_fill(missing.any(1), -torch.inf)
        late = missing.any(1) & (missing.sum(1) >= self.max_new_tokens - token_ids.shape[1])
        allowed = (self.membership[image[late]] & missing[late].unsqueeze(1)).any(2)  # (late rows, V)
        log_probs[late] = log_probs[late].masked_fill(~allowed, -torch.inf)
        return log_probs
