"""How stage ``prepare`` and ``wordgaze data check`` read captions: the tokenizer, and the captions in tokens."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wordgaze.config.params import TOKENIZERS, PrepareParams
from wordgaze.data.records import Record, Split
from wordgaze.text.tokenizers import Tokenizer, get_tokenizer, read_tokenizer
from wordgaze.text.tokenizers.subwords import train_subwords


class TokenizedCaption(NamedTuple):
    """A caption with at least one token; ``number`` counts the captions of its image from 0."""

    image: str
    split: Split
    number: int
    text: str
    tokens: tuple[str, ...]


def tokenizer_of_params(settings: PrepareParams, records: Iterable[Record]) -> Tokenizer:
    """The tokenizer of the parameters; subwords are trained on the captions of the training images alone.

    Raises ModelError for a file that cannot be used.
    """
    if settings.tokenizer == "subwords":
        texts = (text for record in records if record.split == "train" for text in record.captions)
        return train_subwords(texts, settings.max_vocabulary, settings.min_count)
    if settings.tokenizer in TOKENIZERS:
        return get_tokenizer(settings.tokenizer)
    return read_tokenizer(Path(settings.tokenizer))


def least_count(settings: PrepareParams, tokenizer: Tokenizer) -> int:
    """The number of occurrences from which a token is in the vocabulary."""
    # A rare word consists of frequent subwords, and lacks none of them.
    return settings.min_count if tokenizer.has_words else 1


def tokenize_captions(records: Iterable[Record], tokenizer: Tokenizer) -> tuple[list[TokenizedCaption], int]:
    """The captions of records that have a split, and the number of captions without any token, which are left out."""
    tokenized = CaptionTokens(records, tokenizer)
    return list(tokenized), tokenized.num_wordless


class CaptionTokens:
    """The captions of records that have a split, one at a time. ``num_wordless`` counts those without any token, which
    are left out, so far."""

    def __init__(self, records: Iterable[Record], tokenizer: Tokenizer) -> None:
        self._records, self._tokenizer, self.num_wordless = records, tokenizer, 0

    def __iter__(self) -> Iterator[TokenizedCaption]:
        for record in self._records:
            assert record.split is not None
            for number, text in enumerate(record.captions):
                if tokens := tuple(self._tokenizer.tokenize(text)):
                    yield TokenizedCaption(record.image, record.split, number, text, tokens)
                else:
                    self.num_wordless += 1
