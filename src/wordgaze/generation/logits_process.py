"""What may be said: rules that every strategy keeps, as words that are struck out before it chooses."""

import torch
from torch import Tensor

from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.vocabulary import END, PAD, START, UNK, Vocabulary


class LogitsProcessor:
    """The rules of some decoding parameters, for one vocabulary.

    ``required``: each entry is a word or several separated by ``|``, of which one is to be said. Raises ParamsError
    where a vocabulary has none of them, so that they could never be said.
    """

    def __init__(self, vocabulary: Vocabulary, params: GenerationConfig, device: torch.device) -> None:
        self.params = params
        banned = [PAD, START, UNK, *(vocabulary.index[w] for w in params.bad_words if w in vocabulary.index)]
        self.never = torch.tensor(banned, device=device)
        forms = [
            [vocabulary.index[w] for w in entry.split("|") if w in vocabulary.index] for entry in params.force_words
        ]
        for entry, found in zip(params.force_words, forms, strict=True):
            if not set(found) - set(banned):
                raise ParamsError(f"required: the captioner does not know the word {entry!r}, or it is banned")
        self.required = len(forms)
        # Whether a hypothesis may be left without a word: END is a way out unless a rule forbids it.
        self.can_stick = bool(params.min_new_tokens or params.no_dangling_end or forms)
        self.forms = torch.tensor([i for found in forms for i in found], dtype=torch.long, device=device)
        owner = torch.zeros(len(vocabulary), len(forms), dtype=torch.bool, device=device)
        for number, found in enumerate(forms):
            owner[found, number] = True
        self.owner = owner  # (V, m): which entry a word belongs to
        dangling = [vocabulary.index[w] for w in sorted(FUNCTION_WORDS) if w in vocabulary.index]
        self.dangling = torch.tensor(dangling, dtype=torch.long, device=device)

    def said(self, words: Tensor) -> Tensor:
        """words (N, t) → which of the required ones each hypothesis has said, (N, m)."""
        return self.owner[words].any(dim=1)

    def strike(self, log_probs: Tensor, words: Tensor) -> None:
        """Sets what may not follow ``words`` (N, t) to minus infinity in ``log_probs`` (N, V), in place."""
        length, params = words.shape[1], self.params
        log_probs.index_fill_(1, self.never, -torch.inf)
        if length < params.min_new_tokens:
            log_probs[:, END] = -torch.inf
        if params.no_repeat_ngram_size and length >= params.no_repeat_ngram_size:
            _strike_repeated(log_probs, words, params.no_repeat_ngram_size)
        if params.no_dangling_end:
            self._strike_dangling(log_probs, words)
        if self.required:
            self._strike_forgetting(log_probs, words)

    def _strike_dangling(self, log_probs: Tensor, words: Tensor) -> None:
        if words.shape[1]:
            unfinished = torch.isin(words[:, -1], self.dangling)
            log_probs[:, END] = log_probs[:, END].masked_fill(unfinished, -torch.inf)
        if words.shape[1] == self.params.max_new_tokens - 1:  # the next word is the last one
            log_probs[:, self.dangling] = -torch.inf

    def _strike_forgetting(self, log_probs: Tensor, words: Tensor) -> None:
        """END waits for the required words, and the last places are kept for them."""
        missing = ~self.said(words)  # (N, m)
        log_probs[:, END] = log_probs[:, END].masked_fill(missing.any(1), -torch.inf)
        late = missing.sum(1) >= self.params.max_new_tokens - words.shape[1]
        useful = (self.owner.unsqueeze(0) & missing[late].unsqueeze(1)).any(2)  # (late rows, V)
        log_probs[late] = log_probs[late].masked_fill(~useful, -torch.inf)


def _strike_repeated(log_probs: Tensor, words: Tensor, n: int) -> None:
    windows = words.unfold(1, n, 1)  # (N, t-n+1, n)
    last = words[:, words.shape[1] - n + 1 :].unsqueeze(1)  # (N, 1, n-1)
    rows, places = (windows[:, :, : n - 1] == last).all(2).nonzero(as_tuple=True)
    log_probs[rows, windows[rows, places, n - 1]] = -torch.inf
