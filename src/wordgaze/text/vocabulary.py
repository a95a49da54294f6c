"""The vocabulary of a decoder: words and their token ids, and the tokenizer that gives the words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from wordgaze.text.function_words import FUNCTION_WORDS
from wordgaze.text.tokenizers import Tokenizer, get_tokenizer

PTB = get_tokenizer("ptb")
PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")


@dataclass(frozen=True)
class Vocabulary:
    """``words[i]`` is the word with token id i; the four special tokens come first. The words are tokens of
    ``tokenizer``, which may be pieces of words.

    Raises ValueError for other words in their place, and for a word that occurs twice."""

    words: tuple[str, ...]
    tokenizer: Tokenizer = PTB

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL or len(set(self.words)) != len(self.words):
            raise ValueError(f"a vocabulary starts with {SPECIAL} and contains no word twice")

    @classmethod
    def count(
        cls,
        captions: Iterable[Sequence[str]],
        min_count: int,
        max_words: int = 0,
        tokenizer: Tokenizer = PTB,
    ) -> "Vocabulary":
        """The words with at least ``min_count`` occurrences, the most frequent first, ties in alphabetical order; of
        these the first ``max_words``, or all if it is 0."""
        counts = Counter(word for caption in captions for word in caption)
        return cls.of_counts(counts, min_count, max_words, tokenizer)

    @classmethod
    def of_counts(
        cls, counts: Mapping[str, int], min_count: int, max_words: int = 0, tokenizer: Tokenizer = PTB
    ) -> "Vocabulary":
        """As :meth:`count`, from the number of occurrences of each word."""
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [word for word, count in ordered if count >= min_count and word not in SPECIAL]
        return cls(SPECIAL + tuple(kept[: max_words or None]), tokenizer)

    @cached_property
    def index(self) -> dict[str, int]:
        """The token id of every word."""
        return {word: i for i, word in enumerate(self.words)}

    @property
    def function_words(self) -> frozenset[str]:
        """The words of the vocabulary's language that carry no content; only those of English are known."""
        return FUNCTION_WORDS if self.tokenizer.is_english else frozenset()

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Sequence[str], max_words: int) -> list[int]:
        """The token ids of the first ``max_words`` words, followed by END.

        Other words than ``words`` become UNK, and so do words of a text that are written like a special token.
        """
        ids = (self.index.get(word, UNK) for word in words[:max_words])
        return [token if token >= len(SPECIAL) else UNK for token in ids] + [END]
