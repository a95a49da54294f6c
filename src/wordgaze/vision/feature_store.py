"""The feature store: a folder of safetensors shards with an index and a manifest.

manifest.json         the encoder, the checksum of its weights, dtype and shape of the features, and what computed them
encoder.safetensors   the weights of the encoder
tagger.safetensors    the classifiers of its networks (Tagger); no tensors if it has none
index.parquet         image, shard, row
shard-*.safetensors   the features: see :mod:`wordgaze.vision.feature_shards`
SHA256SUMS            the checksums of these files; while they are computed, those of the complete shards

The shards may be at an address instead, which the manifest states: see :mod:`wordgaze.vision.shard_objects`.

The same pictures give the same files, whether they were computed at once or some were added later: see
:mod:`wordgaze.vision.picture_keys`. A shard is checked when the first row of it is read: 0.6 s for each gigabyte, once
in a process.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordgaze.config.params import FeatureDtype
from wordgaze.core.checksums import CHECKSUMS, check_file, read_checksums, read_tensors, write_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import read_json, sha256, write_json
from wordgaze.core.parallel import map_ahead
from wordgaze.vision.encoders import EncoderSpec
from wordgaze.vision.feature_index import INDEX, FeatureIndex
from wordgaze.vision.feature_shards import GRIDS, ShardFolder
from wordgaze.vision.picture_keys import PictureKeys, ShardNumber
from wordgaze.vision.quantisation import dequantise, stored_dtype
from wordgaze.vision.shard_objects import ShardObjects

ENCODER, TAGGER = "encoder.safetensors", "tagger.safetensors"
_MANIFEST = "manifest.json"
_OLD_INDEX = "index.json"  # of version 0.2 and before
_REPEAT = "run dvc repro -f -s features"
_READERS = 8  # threads that read shards from an address


def write_manifest(
    folder: Path,
    spec: EncoderSpec,
    weights_sha256: str,
    pictures: PictureKeys,
    dtype: FeatureDtype,
    computed_by: Mapping[str, str],
    address: str = "",
) -> None:
    """Writes index, manifest and the checksums of all files, from those of the shards that are known.

    ``computed_by`` is all that decides the features of a picture besides the encoder and the dtype. ``address`` is that
    of the shards, if they are to be read from there.
    """
    FeatureIndex(pictures.names, *pictures.places()).write(folder)
    manifest = {
        "encoder": spec.model_dump(mode="json"),
        "weights_sha256": weights_sha256,
        "dtype": dtype,
        "shape": [len(pictures.keys), spec.grid[0] * spec.grid[1], spec.channels],
        "shards": pictures.num_shards,
        "computed_by": dict(computed_by),
        **({"address": address} if address else {}),
    }
    write_json(folder / _MANIFEST, manifest)
    names = {shard.name for shard, _ in pictures.shards()}
    shards = {name: value for name, value in read_checksums(folder, remedy=_REPEAT).items() if name in names}
    other = (name for name in (_MANIFEST, INDEX, ENCODER, TAGGER) if (folder / name).is_file())
    write_checksums(folder, [*shards, *other], shards)


def files_of_store(folder: Path, address: str = "") -> list[Path]:
    """The files of a complete store, without others that may be in its folder, and without shards at an address."""
    names = [name for name in read_checksums(folder, remedy=_REPEAT) if not (address and ShardNumber.of_name(name))]
    return [folder / CHECKSUMS, *(folder / name for name in names)]


def shards_computed_by(
    folder: Path, spec: EncoderSpec, weights_sha256: str, dtype: FeatureDtype, computed_by: Mapping[str, str]
) -> ShardFolder:
    """The shards of a store whose features were computed just so; none of another store, or of a damaged manifest."""
    expected = {
        "encoder": spec.model_dump(mode="json"),
        "weights_sha256": weights_sha256,
        "dtype": dtype,
        "computed_by": dict(computed_by),
    }
    try:
        manifest = read_json(folder / _MANIFEST, _REPEAT)
        is_equal = all(manifest.get(name) == value for name, value in expected.items())
        objects = ShardObjects(str(manifest["address"])) if manifest.get("address") else None
    except (DataError, OSError, AttributeError):
        return ShardFolder(folder, {})
    return ShardFolder.open(folder, objects) if is_equal else ShardFolder(folder, {})


class FeatureSource(Protocol):
    """Reads tensors of images by name: stored features, features computed on demand, or pixels."""

    def read(self, images: Sequence[str]) -> Tensor:
        """One row per image, in their order."""
        ...


class FeatureStore:
    """Reads features by image name. Shards are opened on first use, so a store can be pickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / _OLD_INDEX).exists() and not (folder / INDEX).exists():
            raise DataError(f"{folder} was written by an older version of wordgaze; {_REPEAT}")
        self._checksums = read_checksums(folder, (_MANIFEST, INDEX), _REPEAT)
        for name in (_MANIFEST, INDEX):
            check_file(folder / name, self._checksums.get(name), _REPEAT)
        manifest = read_json(folder / _MANIFEST, _REPEAT)
        self.index = FeatureIndex.read(folder, _REPEAT)
        try:
            self.spec = EncoderSpec.model_validate(manifest["encoder"])
            self.dtype: FeatureDtype = manifest["dtype"]
            self._stored_dtype = stored_dtype(self.dtype)
            self.num_shards = int(manifest["shards"])
            rows, cells, channels = map(int, manifest["shape"])
            if (rows, cells, channels) != (
                self.index.num_rows,
                self.spec.grid[0] * self.spec.grid[1],
                self.spec.channels,
            ):
                raise ValueError(f"shape {manifest['shape']} is not that of the index and of the encoder")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder / _MANIFEST} is not a manifest ({reason}); {_REPEAT}") from error
        self.shape: tuple[int, int, int] = (rows, cells, channels)
        self._encoder_sha256 = self._checksums.get(ENCODER) or manifest.get("weights_sha256") or None
        self.objects = ShardObjects(str(manifest["address"])) if manifest.get("address") else None
        self._open: dict[int, dict[str, Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    @property
    def fingerprint(self) -> str:
        """A checksum of all files, or of the manifest if SHA256SUMS was deleted."""
        return sha256(self.folder / (CHECKSUMS if self._checksums else _MANIFEST))

    @property
    def bytes_per_picture(self) -> int:
        """The bytes that the features of a picture take."""
        _, cells, channels = self.shape
        return cells * channels * self._stored_dtype.itemsize

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights of the encoder that computed the features. Raises DataError if they cannot be read."""
        return read_tensors(self.folder / ENCODER, self._encoder_sha256, _REPEAT)

    def tagger_state(self) -> dict[str, Tensor]:
        """The tensors of the encoder's classifiers, empty if it has none. Raises DataError if they cannot be read."""
        return read_tensors(self.folder / TAGGER, self._checksums.get(TAGGER), _REPEAT)

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images in bf16, in their order.

        Raises DataError for an image that has none or whose features are not finite, and for a damaged shard.
        """
        shards, rows = self.find(images)
        wanted = set(shards.tolist())
        if new := sorted(wanted - self._open.keys()):
            self._open |= zip(new, map_ahead(self.open_shard, new, self.readers, self.readers), strict=True)
            self._close_all_but(wanted)
        return self.gather(images, shards, rows, self._open)

    @property
    def readers(self) -> int:
        """The number of threads that open shards at the same time."""
        return _READERS if self.objects else 1

    def _close_all_but(self, wanted: set[int]) -> None:
        """Closes shards that are no longer in the cache, whose place on the disk is free only then."""
        if self.objects:
            names = {shard: ShardNumber(shard, self.num_shards).name for shard in self._open.keys() - wanted}
            for shard in [each for each, name in names.items() if not self.objects.has(self._checksums[name])]:
                del self._open[shard]

    def find(self, images: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The shard and the row of each image. Raises DataError for an image that has none."""
        try:
            found = self.index.find(images)
        except KeyError as error:
            raise DataError(f"{self.folder} has no features of {error.args[0]}; run dvc repro features") from error
        return self.index.shards[found], self.index.rows[found]

    def gather(
        self,
        images: Sequence[str],
        shards: NDArray[np.int32],
        rows: NDArray[np.int32],
        tensors: Mapping[int, Mapping[str, Tensor]],
    ) -> Tensor:
        """Features (B, L, D) of images in bf16, from ``tensors`` of their shards."""
        places = list(zip(images, shards.tolist(), rows.tolist(), strict=True))
        for image, shard, row in places:
            if row >= len(tensors[shard][GRIDS]):
                path = self.folder / ShardNumber(shard, self.num_shards).name
                raise DataError(f"{path} has no row {row}, which {INDEX} states for {image}; {_REPEAT}")
        names = tensors[places[0][1]].keys() if places else ()
        features = dequantise({name: torch.stack([tensors[s][name][row] for _, s, row in places]) for name in names})
        if not features.sum().isfinite():  # the sum is much faster, but may be infinite for finite numbers too
            for image, of_image in zip(images, features, strict=True):
                if not of_image.isfinite().all():
                    raise DataError(f"{self.folder} has features of {image} that are not finite numbers; {_REPEAT}")
        return features

    def open_shard(self, shard: int) -> dict[str, Tensor]:
        """The tensors of a shard that :meth:`gather` needs, in a mapped file, so that only the rows that are used are
        read. Raises DataError if it is missing or damaged.

        Not a slice of safetensors, which loses a few bytes of memory for each row that is read.
        """
        path = self.folder / ShardNumber(shard, self.num_shards).name
        if (self._checksums or self.objects) and path.name not in self._checksums:
            raise DataError(f"{self.folder} has no checksum of {path.name}; {_REPEAT}")
        tensors = self._tensors(path)
        features, scale = tensors.get(GRIDS), tensors.get("scale")
        is_right = features is not None and (features.shape[1:], features.dtype) == (self.shape[1:], self._stored_dtype)
        if not is_right or (scale is None) != (self.dtype == "bf16"):
            raise DataError(f"{path} does not hold the features that {_MANIFEST} states; {_REPEAT}")
        return {name: tensor for name, tensor in tensors.items() if name in (GRIDS, "scale")}

    def _tensors(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a shard of the folder, or of the address; what is damaged in the cache is read once more."""
        expected = self._checksums.get(path.name)
        if not self.objects or not expected or path.exists():
            return read_tensors(path, expected, _REPEAT)
        cached = self.objects.fetch(expected)
        try:
            return read_tensors(cached, expected, _REPEAT)
        except DataError:
            self.objects.discard(expected)
            return read_tensors(self.objects.fetch(expected), expected, _REPEAT)
