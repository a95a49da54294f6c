"""The words that a decoder knows, and their indices."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


@dataclass(frozen=True)
class Vocabulary:
    """``words[i]`` is the word of index i; the four special tokens come first."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL or len(set(self.words)) != len(self.words):
            raise ValueError(f"a vocabulary starts with {SPECIAL} and has no word twice")

    @classmethod
    def count(cls, captions: Iterable[Sequence[str]], min_count: int, max_words: int = 0) -> "Vocabulary":
        """Every word with ``min_count`` occurrences or more, the commonest first, ties in alphabetical order; of these
        the first ``max_words``, 0 for all."""
        counts = Counter(word for caption in captions for word in caption)
        kept = [word for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= min_count]
        return cls(SPECIAL + tuple(kept[: max_words or None]))

    @cached_property
    def index(self) -> dict[str, int]:
        """The index of every word."""
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Sequence[str], max_words: int) -> list[int]:
        """Indices of at most ``max_words`` words, with END behind them; a word it does not know becomes UNK."""
        return [self.index.get(word, UNK) for word in words[:max_words]] + [END]

    def decode(self, indices: Iterable[int]) -> list[str]:
        """The words up to the first END; START and PAD are left out."""
        words = []
        for i in indices:
            if i == END:
                break
            if i not in (PAD, START):
                words.append(self.words[i])
        return words
