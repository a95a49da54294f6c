"""The feature store: a folder of safetensors shards with an index and a manifest.

manifest.json             the encoder, the checksum of its weights, dtype and shape of the features
encoder.safetensors       the weights of the encoder
tagger.safetensors        the classifiers of its networks (Tagger); no tensors if it has none
index.json                image → [shard, row]
shard-00000.safetensors   features (N, L, D)
SHA256SUMS                the checksums of these files; while they are computed, those of the complete shards

A shard is checked when the first row of it is read: 0.6 s for each gigabyte, once in a process.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from wordgaze.core.checksums import CHECKSUMS, check_file, read_checksums, read_tensors, write_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import read_json, sha256, write_json, write_tensors
from wordgaze.vision.encoders import EncoderSpec

ENCODER, TAGGER = "encoder.safetensors", "tagger.safetensors"
_SHARD = "shard-"  # what the names of shards begin with
_MANIFEST, _INDEX = "manifest.json", "index.json"
_REPEAT = "run dvc repro -f -s features"

_log = logging.getLogger(__name__)


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"{_SHARD}{number:05d}.safetensors"


def write_shards(
    folder: Path,
    images: Sequence[str],
    shard_size: int,
    encode: Callable[[Sequence[str]], Tensor],
    track: Callable[[Iterable[int], int], Iterable[int]],
) -> dict[str, tuple[int, int]]:
    """Writes the features of ``images``, ``shard_size`` per file; existing shards that their checksums fit are kept.

    ``encode`` computes the features (N, L, D) of N images, ``track(iterable, total)`` reports progress. Returns the
    index. Shards are written atomically, so a call after an interruption resumes at the first missing shard. A damaged
    shard is computed again, with a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = _undamaged(folder)
    starts = range(0, len(images), shard_size)
    for start in track(starts, len(starts)):
        name = shard_name(start // shard_size)
        if name not in kept:
            write_tensors(folder / name, {"features": encode(images[start : start + shard_size])})
            kept[name] = sha256(folder / name)
            write_checksums(folder, kept, kept)
    return {image: divmod(i, shard_size) for i, image in enumerate(images)}


def _undamaged(folder: Path) -> dict[str, str]:
    """The checksums of a folder, without those of shards that are missing or not as they were written.

    A shard without a checksum is not there either: the process ended before it wrote that.
    """
    again = "it is computed again"
    kept: dict[str, str] = {}
    try:
        listed = read_checksums(folder, remedy=again)
    except DataError as error:
        _log.warning("%s", error)
        return kept
    for name, expected in listed.items():
        path = folder / name
        if path.name.startswith(_SHARD):
            if not path.exists():
                continue
            try:
                check_file(path, expected, again)
            except DataError as error:
                _log.warning("%s", error)
                continue
        kept[name] = expected
    return kept


def write_manifest(folder: Path, spec: EncoderSpec, weights_sha256: str, index: dict[str, Any], dtype: str) -> None:
    """Writes index, manifest and the checksums of all files, from those of the shards that are known."""
    write_json(folder / _INDEX, index)
    shape = [len(index), spec.grid[0] * spec.grid[1], spec.channels]
    manifest = {
        "encoder": spec.model_dump(mode="json"),
        "weights_sha256": weights_sha256,
        "dtype": dtype,
        "shape": shape,
    }
    write_json(folder / _MANIFEST, manifest)
    shards = {name: value for name, value in read_checksums(folder, remedy=_REPEAT).items() if name.startswith(_SHARD)}
    other = (name for name in (_MANIFEST, _INDEX, ENCODER, TAGGER) if (folder / name).is_file())
    write_checksums(folder, [*shards, *other], shards)


class FeatureSource(Protocol):
    """Reads tensors of images by name: stored features, features computed on demand, or pixels."""

    def read(self, images: Sequence[str]) -> Tensor:
        """One row per image, in their order."""
        ...


class FeatureStore:
    """Reads features by image name. Shards are opened on first use, so a store can be pickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checksums = read_checksums(folder, (_MANIFEST, _INDEX), _REPEAT)
        for name in (_MANIFEST, _INDEX):
            check_file(folder / name, self._checksums.get(name), _REPEAT)
        manifest = read_json(folder / _MANIFEST, _REPEAT)
        self.index: dict[str, list[int]] = _checked_index(folder / _INDEX)
        try:
            self.spec = EncoderSpec.model_validate(manifest["encoder"])
            rows, cells, channels = map(int, manifest["shape"])
            if (rows, cells, channels) != (len(self.index), self.spec.grid[0] * self.spec.grid[1], self.spec.channels):
                raise ValueError(f"shape {manifest['shape']} is not that of the index and of the encoder")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder / _MANIFEST} is not a manifest ({reason}); {_REPEAT}") from error
        self.shape: tuple[int, int, int] = (rows, cells, channels)
        self._encoder_sha256 = self._checksums.get(ENCODER) or manifest.get("weights_sha256") or None
        self._open: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    @property
    def fingerprint(self) -> str:
        """A checksum of all files, or of the manifest if the store is older than the checksums."""
        return sha256(self.folder / (CHECKSUMS if self._checksums else _MANIFEST))

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights of the encoder that computed the features. Raises DataError if they cannot be read."""
        return read_tensors(self.folder / ENCODER, self._encoder_sha256, _REPEAT)

    def tagger_state(self) -> dict[str, Tensor]:
        """The tensors of the encoder's classifiers, empty if it has none. Raises DataError if they cannot be read."""
        return read_tensors(self.folder / TAGGER, self._checksums.get(TAGGER), _REPEAT)

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images, in their order and stored dtype.

        Raises DataError for an image that has none or whose features are not finite, and for a damaged shard.
        """
        features = torch.stack([self._row(image) for image in images])
        if not features.sum().isfinite():  # the sum is much faster, but may be infinite for finite numbers too
            for image, of_image in zip(images, features, strict=True):
                if not of_image.isfinite().all():
                    raise DataError(f"{self.folder} has features of {image} that are not finite numbers; {_REPEAT}")
        return features

    def _row(self, image: str) -> Tensor:
        if image not in self.index:
            raise DataError(f"{self.folder} has no features of {image}; run dvc repro features")
        shard, row = self.index[image]
        if shard not in self._open:
            self._open[shard] = self._opened(shard)
        if row >= len(self._open[shard]):
            path = self.folder / shard_name(shard)
            raise DataError(f"{path} has no row {row}, which {_INDEX} states for {image}; {_REPEAT}")
        return self._open[shard][row]

    def _opened(self, shard: int) -> Tensor:
        """The features of a shard (N, L, D), in a mapped file, so that only the rows that are used are read.

        Not a slice of safetensors, which loses a few bytes of memory for each row that is read.
        """
        path = self.folder / shard_name(shard)
        if self._checksums and path.name not in self._checksums:
            raise DataError(f"{self.folder} has no checksum of {path.name}; {_REPEAT}")
        features = read_tensors(path, self._checksums.get(path.name), _REPEAT).get("features")
        if features is None or features.shape[1:] != self.shape[1:]:
            raise DataError(f"{path} does not hold the features of the shape that {_MANIFEST} states; {_REPEAT}")
        return features


def _checked_index(path: Path) -> dict[str, list[int]]:
    index = read_json(path, _REPEAT)
    places = index.values() if isinstance(index, dict) else [None]
    if not all(
        isinstance(place, list) and len(place) == 2 and all(type(n) is int and n >= 0 for n in place)
        for place in places
    ):
        raise DataError(f"{path} does not map images to [shard, row]; {_REPEAT}")
    checked: dict[str, list[int]] = index
    return checked
