"""Splits by image, for data sets that bring none. All captions of an image go where the image goes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from wordgaze.datasets.base import Record, Split


def assign_splits(records: Sequence[Record], dev_share: float, test_share: float) -> list[Record]:
    """Gives every record without a split one by the hash of its picture's name.

    A picture's split does not depend on which others there are, so a data set can grow without test pictures
    wandering into train.
    """
    return [r if r.split else replace(r, split=_split(r.image, dev_share, test_share)) for r in records]


def _split(image: str, dev_share: float, test_share: float) -> Split:
    place = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8]) / 2**64
    if place < test_share:
        return "test"
    return "dev" if place < test_share + dev_share else "train"
