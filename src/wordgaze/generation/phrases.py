"""Logits processors for words that consist of several tokens, such as subwords.

They consider the tokens that the captioner's tokenizer gives for a word. A caption may spell the same word by others.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from wordgaze.generation.logits_process import ForceWordsLogitsProcessor
from wordgaze.text.vocabulary import END, PAD, SPECIAL, Vocabulary

TokenIds = tuple[int, ...]
"""The token ids of a word or of several words."""


class BadPhrasesLogitsProcessor:
    """The last token of a phrase does not follow the tokens before it."""

    def __init__(self, phrases: Sequence[TokenIds], device: torch.device) -> None:
        self.phrases = [(torch.tensor(phrase[:-1], device=device), phrase[-1]) for phrase in phrases]

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        for before, last in self.phrases:
            log_probs[_ends_with(token_ids, before), last] = -torch.inf
        return log_probs


class WholeWordsLogitsProcessor:
    """A forced word is not the beginning of a longer one: none of ``continuations[i]`` follows ``phrases[i]``."""

    def __init__(
        self, phrases: Sequence[TokenIds], continuations: Sequence[Sequence[int]], device: torch.device
    ) -> None:
        self.phrases = [torch.tensor(phrase, device=device) for phrase in phrases]
        self.continuations = [torch.tensor(ids, dtype=torch.long, device=device) for ids in continuations]

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        for phrase, continuations in zip(self.phrases, self.continuations, strict=True):
            rows = _ends_with(token_ids, phrase).nonzero()  # (n, 1)
            log_probs[rows, continuations] = -torch.inf
        return log_probs


@lru_cache(maxsize=64)
def continuations(vocabulary: Vocabulary, phrase: TokenIds) -> tuple[int, ...]:
    """The tokens that make a longer word of the word that the tokens of ``phrase`` compose."""
    tokenizer, tokens = vocabulary.tokenizer, [vocabulary.words[i] for i in phrase]
    num_words = len(tokenizer.spans(tokens))
    every = range(len(SPECIAL), len(vocabulary))
    return tuple(i for i in every if len(tokenizer.spans([*tokens, vocabulary.words[i]])) == num_words)


class ForcePhrasesLogitsProcessor(ForceWordsLogitsProcessor):
    """As ``ForceWordsLogitsProcessor``, for forced words of which an alternative has several tokens.

    A hypothesis that has begun an alternative, and has no other of the forced word, must complete it. So beginning it
    counts as having the word, and the banks of a beam search stay as few as for single tokens. ``phrases``: for each
    forced word its alternatives; they are the same for all images.
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[TokenIds]],
        num_images: int,
        vocabulary_size: int,
        max_new_tokens: int,
        device: torch.device,
    ) -> None:
        begins = [[[phrase[0] for phrase in of_word] for of_word in phrases]] * num_images
        super().__init__(begins, vocabulary_size, max_new_tokens, device)
        self.phrases = [[torch.tensor(phrase, device=device) for phrase in of_word] for of_word in phrases]
        self.shortest = torch.tensor([min(map(len, of_word)) for of_word in phrases], device=device)
        # Beam search takes all of their tokens into account, however improbable they are.
        ids = sorted({token_id for of_word in phrases for phrase in of_word for token_id in phrase} - {PAD})
        self.token_ids = torch.tensor([ids] * num_images, device=device)

    def fulfilled(self, token_ids: Tensor, image: Tensor) -> Tensor:
        return self._complete(token_ids) | self._begun(token_ids).any(1)

    def num_missing(self, token_ids: Tensor, image: Tensor) -> Tensor:
        """The number of tokens that must still follow, at least."""
        begun = self._begun(token_ids)  # (N, t, m)
        added = torch.full((len(token_ids),), self.max_new_tokens, device=token_ids.device)
        for word, phrase in self._alternatives():
            for length in range(1, len(phrase)):
                rest = len(phrase) - length - self.shortest[word]  # it takes the place of the shortest alternative
                added = torch.where(begun[:, length - 1, word], added.clamp(max=rest), added)
        return self._shortest_rest(token_ids) + torch.where(begun.flatten(1).any(1), added, 0)

    def __call__(self, token_ids: Tensor, log_probs: Tensor, image: Tensor) -> Tensor:
        needed = self.num_missing(token_ids, image)
        log_probs[:, END] = log_probs[:, END].masked_fill(needed > 0, -torch.inf)
        is_begun = self._begun(token_ids).flatten(1).any(1)
        allowed = torch.where(is_begun.unsqueeze(1), self._next(token_ids), self._first(token_ids))
        return log_probs.masked_fill_(~allowed, -torch.inf)

    def _alternatives(self) -> Iterator[tuple[int, Tensor]]:
        """Each forced word, by its number, with each of its alternatives."""
        return ((word, phrase) for word, of_word in enumerate(self.phrases) for phrase in of_word)

    def _complete(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → which forced words each hypothesis has, (N, m)."""
        found = [torch.stack([_contains(token_ids, phrase) for phrase in of_word]).any(0) for of_word in self.phrases]
        return torch.stack(found, dim=1)

    def _shortest_rest(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → the tokens of the shortest alternatives of all words that a hypothesis lacks, (N,)."""
        return (~self._complete(token_ids) * self.shortest).sum(1)

    def _fits(self, token_ids: Tensor, word: int, num_tokens: int) -> Tensor:
        """Whether there is room for ``num_tokens`` of this word and for all other words, (N,)."""
        room = self.max_new_tokens - token_ids.shape[1]
        return self._shortest_rest(token_ids) - self.shortest[word] + num_tokens <= room

    def _begun(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → whether a hypothesis ends with the first 1, 2, … tokens of a forced word that it lacks and
        has room for, (N, longest - 1, m). Only the longest such ending counts: one that goes on with another loses it.
        """
        longest = max(len(phrase) for _, phrase in self._alternatives())
        begun = torch.zeros(len(token_ids), longest - 1, self.num_words, dtype=torch.bool, device=token_ids.device)
        for word, phrase in self._alternatives():
            for length in range(1, len(phrase)):
                fits = self._fits(token_ids, word, len(phrase) - length)
                begun[:, length - 1, word] |= _ends_with(token_ids, phrase[:length]) & fits
        begun &= ~self._complete(token_ids).unsqueeze(1)
        num_longer = begun.any(2).flip(1).cumsum(1).flip(1)
        return begun & (num_longer == 1).unsqueeze(2)

    def _next(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → the tokens that continue what a hypothesis has begun, (N, V)."""
        following = torch.zeros(len(token_ids), self.membership.shape[1], dtype=torch.bool, device=token_ids.device)
        begun = self._begun(token_ids)
        for word, phrase in self._alternatives():
            for length in range(1, len(phrase)):
                fits = self._fits(token_ids, word, len(phrase) - length)
                is_last = begun[:, length - 1, word] & _ends_with(token_ids, phrase[:length])
                following[:, phrase[length]] |= is_last & fits
        return following

    def _first(self, token_ids: Tensor) -> Tensor:
        """token_ids (N, t) → the tokens after which there is room for all words that a hypothesis lacks, (N, V)."""
        room = self.max_new_tokens - token_ids.shape[1]
        has_room = self._shortest_rest(token_ids) < room
        allowed = has_room.unsqueeze(1).repeat(1, self.membership.shape[1])
        is_open = ~self._complete(token_ids)
        for word, phrase in self._alternatives():
            allowed[:, phrase[0]] |= is_open[:, word] & self._fits(token_ids, word, len(phrase))
        return allowed


def _ends_with(token_ids: Tensor, phrase: Tensor) -> Tensor:
    """token_ids (N, t) → whether each hypothesis ends with the tokens of a phrase, (N,)."""
    length = len(phrase)
    if token_ids.shape[1] < length:
        return torch.zeros(len(token_ids), dtype=torch.bool, device=token_ids.device)
    return (token_ids[:, token_ids.shape[1] - length :] == phrase).all(1)


def _contains(token_ids: Tensor, phrase: Tensor) -> Tensor:
    """token_ids (N, t) → whether each hypothesis contains the tokens of a phrase in a row, (N,)."""
    if token_ids.shape[1] < len(phrase):
        return torch.zeros(len(token_ids), dtype=torch.bool, device=token_ids.device)
    return (token_ids.unfold(1, len(phrase), 1) == phrase).all(2).any(1)
