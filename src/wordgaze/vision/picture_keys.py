"""The pictures of a data set by the checksums of their files, which say where the features of a picture are stored.

The place of a picture depends on the set of all pictures alone, not on the order in which they came: the leading bits
of its checksum are the number of its shard, and the rows of a shard are sorted by checksum. Image files with equal
contents are one picture.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordgaze.core.errors import ImageError
from wordgaze.core.parallel import available_cpus, map_ahead
from wordgaze.core.progress import track
from wordgaze.distributed.ranks import Ranks
from wordgaze.vision.decoding_process import decode_safely

KEY_BYTES = 32
"""The bytes of a key, the SHA-256 checksum of an image file."""

_SHARD = "shard-"  # what the names of shards begin with
_AHEAD = 4  # files for each thread


class ShardNumber(NamedTuple):
    """A shard among ``total`` shards, a power of two: it has the pictures whose keys begin with the bits of number."""

    number: int
    total: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{_SHARD}{self.number:05d}-of-{self.total:05d}.safetensors"

    @classmethod
    def of_name(cls, name: str) -> "ShardNumber | None":
        """The shard of a file's name; None if it is another file."""
        number, _, total = name.removeprefix(_SHARD).removesuffix(".safetensors").partition("-of-")
        if not (number.isdecimal() and total.isdecimal()):
            return None
        shard = cls(int(number), int(total))
        is_valid = shard.total.bit_count() == 1 and shard.number < shard.total
        return shard if is_valid and shard.name == name else None


@dataclass(frozen=True)
class PictureKeys:
    """Image names and their pictures.

    names: (N,) sorted. keys: (M, KEY_BYTES) uint8, the distinct keys, sorted. pictures: (N,), the number of the key of
    each name. first: (M,), the number of the first name of each key. num_shards: a power of two.
    """

    names: NDArray[Any]
    keys: NDArray[np.uint8]
    pictures: NDArray[np.int64]
    first: NDArray[np.int64]
    num_shards: int

    @classmethod
    def of(cls, names: Sequence[str], keys: NDArray[np.uint8], shard_size: int) -> "PictureKeys":
        """Of image names and their keys (N, KEY_BYTES). Shards have ``shard_size`` pictures or fewer on average."""
        text = np.array(names, dtype=np.dtypes.StringDType())
        by_name = np.argsort(text, stable=True)
        keys = keys[by_name]
        words = keys.view(">u8")
        by_key = np.lexsort(words.T[::-1])  # by all of the key; of equal ones the first name comes first
        ordered = keys[by_key]
        is_new = np.ones(len(keys), bool)
        is_new[1:] = (ordered[1:] != ordered[:-1]).any(1)
        pictures = np.empty(len(keys), np.int64)
        pictures[by_key] = np.cumsum(is_new) - 1
        num_shards = 1
        while is_new.sum() > num_shards * shard_size:
            num_shards *= 2
        return cls(text[by_name], ordered[is_new], pictures, by_key[is_new], num_shards)

    def shards(self) -> Iterator[tuple[ShardNumber, slice]]:
        """The shards that have pictures, and which pictures these are."""
        ends = self._ends()
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if start < end:
                yield ShardNumber(number, self.num_shards), slice(int(start), int(end))

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The number of the shard and the row of each name."""
        ends = self._ends()
        shards = np.searchsorted(ends, self.pictures, "right")
        rows = self.pictures - np.concatenate([[0], ends])[shards]
        return shards.astype(np.int32), rows.astype(np.int32)

    def name_of(self, picture: int) -> str:
        """The first of the names of a picture."""
        return str(self.names[self.first[picture]])

    def _ends(self) -> NDArray[np.int64]:
        """The number of the picture after the last one of each shard."""
        bits = self.num_shards.bit_length() - 1
        leading = self.keys[:, :8].copy().view(">u8").ravel().astype(np.uint64)
        numbers = leading >> np.uint64(64 - bits) if bits else np.zeros(len(leading), np.uint64)
        return np.searchsorted(numbers, np.arange(self.num_shards, dtype=np.uint64), "right")


def read_keys(folder: Path, names: Sequence[str], ranks: Ranks | None = None) -> NDArray[np.uint8]:
    """The keys of the image files of a folder (N, KEY_BYTES), of which each rank reads its part.

    Raises ImageError for a file that cannot be read.
    """
    ranks = ranks or Ranks()
    first, end = (len(names) * number // ranks.world_size for number in (ranks.rank, ranks.rank + 1))
    keys = np.empty((end - first, KEY_BYTES), np.uint8)
    threads = ranks.share_of(available_cpus())
    read = map_ahead(lambda name: _key(folder / name), names[first:end], threads, _AHEAD * threads)
    for number, key in enumerate(track(read, "features: checksums", len(keys))):
        keys[number] = np.frombuffer(key, np.uint8)
    return np.concatenate(ranks.all_gather(keys))


def read_picture(path: Path, key: bytes) -> bytes:
    """The content of an image file. Raises ImageError if it cannot be read, or no longer has this key."""
    content = _content(path)
    if hashlib.sha256(content).digest() != key:
        raise ImageError(f"{path}: was changed while its features were computed; run dvc repro again")
    return content


def _key(path: Path) -> bytes:
    return hashlib.sha256(_content(path)).digest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        decode_safely(path)  # says what is wrong with the file
        raise
