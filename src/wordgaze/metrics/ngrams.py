"""What BLEU, ROUGE-L and CIDEr share: counts of n-grams, and what cannot be compared."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens

Gram = tuple[str, ...]

ORDERS = 4
"""The longest n-gram that BLEU and CIDEr count, as the field reports them."""


def ngrams(words: Tokens) -> Counter[Gram]:
    """How often each run of one to four words occurs."""
    rests = [words[i:] for i in range(ORDERS)]
    return Counter(chain.from_iterable(zip(*rests[:n], strict=False) for n in range(1, ORDERS + 1)))


def refuse_unscorable(references: Sequence[Sequence[Tokens]]) -> None:
    """Raises ScoreError unless there is a picture, and every picture has a reference."""
    if not references:
        raise ScoreError("no picture has references: there is nothing to score captions against")
    for i, of_one in enumerate(references):
        if not of_one:
            raise ScoreError(f"picture number {i} has no reference; leave it out of the captions too")


def refuse_misfit(candidates: Sequence[Tokens], pictures: int) -> None:
    """Raises ScoreError unless there is one caption a picture."""
    if len(candidates) != pictures:
        raise ScoreError(f"{len(candidates)} captions for {pictures} pictures: each picture needs exactly one")
