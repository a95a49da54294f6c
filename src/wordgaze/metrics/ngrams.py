"""What BLEU, ROUGE-L and CIDEr share: counts of n-grams, and checks of captions and references."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from wordgaze.core.errors import ScoreError
from wordgaze.metrics.base import Tokens

Gram = tuple[str, ...]

ORDERS = 4
"""The longest n-grams that BLEU and CIDEr count."""


def ngrams(words: Tokens) -> Counter[Gram]:
    """The counts of all n-grams of one to four words."""
    rests = [words[i:] for i in range(ORDERS)]
    return Counter(chain.from_iterable(zip(*rests[:n], strict=False) for n in range(1, ORDERS + 1)))


def refuse_unscorable(references: Sequence[Sequence[Tokens]]) -> None:
    """Raises ScoreError unless there is at least one image and every image has a reference."""
    if not references:
        raise ScoreError("no image has references, so captions cannot be scored")
    for i, of_image in enumerate(references):
        if not of_image:
            raise ScoreError(f"image number {i} has no reference; leave it out of the captions too")


def refuse_misfit(candidates: Sequence[Tokens], num_images: int) -> None:
    """Raises ScoreError unless there is one caption per image."""
    if len(candidates) != num_images:
        raise ScoreError(f"{len(candidates)} captions for {num_images} images: each image needs exactly one")
