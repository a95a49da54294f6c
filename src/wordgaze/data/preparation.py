"""How stage ``prepare`` and ``wordgaze data check`` read captions: the tokenizer, and the captions in tokens."""

from collections.abc import Iterable, Sequence
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


def tokenizer_of_params(settings: PrepareParams, records: Sequence[Record]) -> Tokenizer:
    """The tokenizer of the parameters; subwords are trained on the captions of the training images alone.

    Raises ModelError for a file that cannot be used.
    """
    if settings.tokenizer == "subwords":
        texts = [text for record in records if record.split == "train" for text in record.captions]
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
    tokenized, without_tokens = [], 0
    for record in records:
        assert record.split is not None
        for number, text in enumerate(record.captions):
            if tokens := tuple(tokenizer.tokenize(text)):
                tokenized.append(TokenizedCaption(record.image, record.split, number, text, tokens))
            else:
                without_tokens += 1
    return tokenized, without_tokens
