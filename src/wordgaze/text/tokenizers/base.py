"""What every tokenizer offers."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class WordSpan(NamedTuple):
    """A word of a caption, and how many tokens it consists of."""

    text: str
    num_tokens: int


class Tokenizer(Protocol):
    """Splits captions into the tokens that a decoder generates, and joins tokens to the text of a caption.

    Tokenizers are immutable; two that tokenize alike are equal. A token is never empty and contains no white space.
    """

    @property
    def name(self) -> str:
        """The value of ``prepare.tokenizer``, and of ``tokenizer`` in captioner.json."""
        ...

    @property
    def is_english(self) -> bool:
        """Whether the tokens are taken for English words: function words, articles, names of objects, stems."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether each token is a word. Otherwise words may consist of several tokens."""
        ...

    @property
    def scoring(self) -> "Tokenizer":
        """The tokenizer with which such captions and their references are scored."""
        ...

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a caption; an empty list for a caption without a word."""
        ...

    def join(self, tokens: Sequence[str]) -> str:
        """The text of a caption. ``tokenize`` gives the tokens of a tokenized caption back."""
        ...

    def spans(self, tokens: Sequence[str]) -> list[WordSpan]:
        """The words that the tokens of a caption compose, in order."""
        ...

    def tokens_of(self, words: Sequence[str]) -> list[str]:
        """The tokens of words that a user gave one by one, or that :meth:`spans` gave."""
        ...

    def files(self) -> dict[str, bytes]:
        """The files, by name, that a captioner needs to tokenize; none where the tokenizer is part of wordgaze."""
        ...
