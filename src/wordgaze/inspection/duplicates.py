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
_COMPARISONS = 1 << 22  # of hashes at once


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


def near_duplicates(pictures: Mapping[str, InspectedPicture], splits: Mapping[str, str]) -> list[NearPair]:
    """Pairs of images that look the same though their files differ, the most similar first.

    The perceptual hashes differ in at most HASH_DISTANCE bits, and the reduced images by at most COLOUR_DISTANCE: the
    hash alone takes the same shapes in other colours for one image. Of files with equal bytes, the first stands for
    all, and an image without contrast is compared with none. Of several images that look like an image, the most
    similar one of each split is its pair: a thousand frames of a film are thousands of pairs, not half a million.
    """
    seen: set[bytes] = set()
    names: list[str] = []
    for name in sorted(pictures):
        if pictures[name].phash is not None and pictures[name].checksum not in seen:
            seen.add(pictures[name].checksum)
            names.append(name)
    if not names:
        return []
    hashes = np.array([pictures[name].phash for name in names], dtype=np.uint64)
    colours = np.stack([np.frombuffer(pictures[name].colours, np.uint8) for name in names]).astype(np.int16)
    split_of = np.unique([splits.get(name, "") for name in names], return_inverse=True)[1]
    pairs = [NearPair(names[a], names[b], bits) for (a, b), bits in _nearest(hashes, colours, split_of).items()]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))


def _nearest(
    hashes: npt.NDArray[np.uint64], colours: npt.NDArray[np.int16], split_of: npt.NDArray[np.intp]
) -> dict[tuple[int, int], int]:
    """The index pairs (a < b) of each image and the most similar one of each split, and the number of bits."""
    count, none = len(hashes), np.iinfo(np.int64).max
    # For each image and split: the bits and the index of the most similar image, as one number that can be compared.
    best = np.full((count, split_of.max() + 1), none)
    for image, close, bits in close_hashes(hashes, HASH_DISTANCE):
        same = np.abs(colours[close] - colours[image]).max(axis=1) <= COLOUR_DISTANCE
        others, ranks, column = close[same], bits[same] * count, split_of[image]
        np.minimum.at(best[image], split_of[others], ranks + others)
        best[others, column] = np.minimum(best[others, column], ranks + image)
    found = {}
    for image, column in np.argwhere(best < none).tolist():
        distance, other = divmod(int(best[image, column]), count)
        found[min(image, other), max(image, other)] = distance
    return found


def close_hashes(
    hashes: npt.NDArray[np.uint64], distance: int
) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """The pairs of 64-bit hashes that differ in at most ``distance`` bits, each once: an index, the higher indices of
    others, and the numbers of bits.

    Hashes that differ in ``distance`` bits agree in one of ``distance + 1`` bands of bits, so only those with an equal
    band are compared, in the first band in which they agree.
    """
    edges = np.linspace(0, _BITS, distance + 2).astype(int)
    bands = [np.uint64(((1 << high - low) - 1) << low) for low, high in pairwise(edges.tolist())]
    for number, band in enumerate(bands):
        for members in _equal(hashes & band):
            rows = max(1, _COMPARISONS // len(members))
            for start in range(0, len(members), rows):
                block = members[start : start + rows]
                different = hashes[block][:, None] ^ hashes[members][None]  # (block, members)
                bits = np.bitwise_count(different)
                close = (bits <= distance) & (members[None] > block[:, None])
                for row in np.flatnonzero(close.any(axis=1)):
                    first = close[row]
                    for earlier in bands[:number]:
                        first &= different[row] & earlier != 0
                    yield int(block[row]), members[first], bits[row, first].astype(np.intp)


def _equal(keys: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.intp]]:
    """The indices of keys that occur several times, one array for each."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    return (group for group in np.split(order, ends) if len(group) > 1)


def across_splits(pairs: Sequence[tuple[str, str]], splits: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs whose images are in different splits."""
    return [pair for pair in pairs if splits.get(pair[0]) != splits.get(pair[1])]
