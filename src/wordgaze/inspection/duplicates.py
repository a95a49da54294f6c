"""Images of a data set that are the same: equal files, and near duplicates by a perceptual hash."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wordgaze.inspection.pictures import InspectedPicture

HASH_DISTANCE = 8  # of 64 bits
COLOUR_DISTANCE = 60  # largest difference of the reduced images in any place and channel, from 0 to 255
_BITS = 64
_ROWS = 1024  # hashes that are compared with all others of their band at once


class NearPair(NamedTuple):
    """Two images, in the order of their names, and in how many of 64 bits their hashes differ."""

    first: str
    second: str
    distance: int


def equal_files(pictures: Mapping[str, InspectedPicture]) -> list[list[str]]:
    """The names of images whose files have the same bytes, one list for each file that occurs several times."""
    groups: dict[bytes, list[str]] = {}
    for name, picture in pictures.items():
        groups.setdefault(picture.checksum, []).append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def near_duplicates(pictures: Mapping[str, InspectedPicture]) -> list[NearPair]:
    """Pairs of images that look the same though their files differ, the most similar first.

    The perceptual hashes differ in at most HASH_DISTANCE bits, and the reduced images by at most COLOUR_DISTANCE: the
    hash alone takes the same shapes in other colours for one image. Of files with equal bytes, the first stands for
    all, and an image without contrast is compared with none.
    """
    seen: set[bytes] = set()
    names: list[str] = []
    for name in sorted(pictures):
        if pictures[name].phash is not None and pictures[name].checksum not in seen:
            seen.add(pictures[name].checksum)
            names.append(name)
    hashes = np.array([pictures[name].phash for name in names], dtype=np.uint64)
    colours = [np.frombuffer(pictures[name].colours, np.uint8).astype(np.int16) for name in names]
    pairs = [
        NearPair(names[a], names[b], distance)
        for (a, b), distance in close_pairs(hashes, HASH_DISTANCE).items()
        if np.abs(colours[a] - colours[b]).max() <= COLOUR_DISTANCE
    ]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))


def close_pairs(hashes: npt.NDArray[np.uint64], distance: int) -> dict[tuple[int, int], int]:
    """The index pairs (a < b) of 64-bit hashes that differ in at most ``distance`` bits, and the number of bits.

    Hashes that differ in ``distance`` bits agree in one of ``distance + 1`` bands of bits, so only those with an equal
    band are compared.
    """
    found: dict[tuple[int, int], int] = {}
    edges = np.linspace(0, _BITS, distance + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        keys = (hashes >> np.uint64(low)) & np.uint64((1 << high - low) - 1)
        for members in _equal(keys):
            for start in range(0, len(members), _ROWS):
                rows = members[start : start + _ROWS]
                bits = np.bitwise_count(hashes[rows][:, None] ^ hashes[members][None])  # (rows, members)
                for row, column in np.argwhere(bits <= distance):
                    a, b = int(rows[row]), int(members[column])
                    if a < b:
                        found[a, b] = int(bits[row, column])
    return found


def _equal(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.intp]]:
    """The indices of keys that occur several times, one array for each."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    return (group for group in np.split(order, ends) if len(group) > 1)


def across_splits(pairs: Sequence[tuple[str, str]], splits: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs whose images are in different splits."""
    return [pair for pair in pairs if splits.get(pair[0]) != splits.get(pair[1])]
