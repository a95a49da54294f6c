"""The feature store: a folder of safetensors shards with an index and a manifest.

manifest.json             the encoder, the checksum of its weights, dtype and shape of the features
encoder.safetensors       the weights of the encoder
tagger.safetensors        the classifiers of its networks (Tagger); no tensors if it has none
index.json                image → [shard, row]
shard-00000.safetensors   features (N, L, D)
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.core.files import read_json, write_json, write_tensors
from wordgaze.vision.encoders import EncoderSpec

TAGGER = "tagger.safetensors"
_REPEAT = "run dvc repro -f -s features"


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"shard-{number:05d}.safetensors"


def write_shards(
    folder: Path,
    images: Sequence[str],
    shard_size: int,
    encode: Callable[[Sequence[str]], Tensor],
    track: Callable[[Iterable[int], int], Iterable[int]],
) -> dict[str, tuple[int, int]]:
    """Writes the features of ``images``, ``shard_size`` per file; existing shards are kept.

    ``encode`` computes the features (N, L, D) of N images, ``track(iterable, total)`` reports progress. Returns the
    index. Shards are written atomically, so a call after an interruption resumes at the first missing shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(images), shard_size)
    for start in track(starts, len(starts)):
        path = folder / shard_name(start // shard_size)
        if not path.exists():
            write_tensors(path, {"features": encode(images[start : start + shard_size])})
    return {image: divmod(i, shard_size) for i, image in enumerate(images)}


def write_manifest(folder: Path, spec: EncoderSpec, weights_sha256: str, index: dict[str, Any], dtype: str) -> None:
    """Writes index and manifest. The manifest is written last, so a folder with a manifest is complete."""
    write_json(folder / "index.json", index)
    shape = [len(index), spec.grid[0] * spec.grid[1], spec.channels]
    manifest = {
        "encoder": spec.model_dump(mode="json"),
        "weights_sha256": weights_sha256,
        "dtype": dtype,
        "shape": shape,
    }
    write_json(folder / "manifest.json", manifest)


class FeatureSource(Protocol):
    """Reads tensors of images by name: stored features, features computed on demand, or pixels."""

    def read(self, images: Sequence[str]) -> Tensor:
        """One row per image, in their order."""
        ...


class FeatureStore:
    """Reads features by image name. Shards are opened on first use, so a store can be pickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = read_json(folder / "manifest.json", _REPEAT)
        self.index: dict[str, list[int]] = _checked_index(folder / "index.json")
        try:
            self.spec = EncoderSpec.model_validate(manifest["encoder"])
            rows, cells, channels = manifest["shape"]
        except (ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder / 'manifest.json'} is not a manifest ({reason}); {_REPEAT}") from error
        self.shape: tuple[int, int, int] = (rows, cells, channels)
        self._open: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights of the encoder that computed the features. Raises DataError if they cannot be read."""
        return self._load("encoder.safetensors")

    def tagger_state(self) -> dict[str, Tensor]:
        """The tensors of the encoder's classifiers, empty if it has none. Raises DataError if they cannot be read."""
        return self._load(TAGGER)

    def _load(self, name: str) -> dict[str, Tensor]:
        path = self.folder / name
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read ({error}); {_REPEAT}") from error

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these images, in their order and stored dtype. Raises DataError for a missing one."""
        return torch.stack([self._row(image) for image in images])

    def _row(self, image: str) -> Tensor:
        if image not in self.index:
            raise DataError(f"{self.folder} has no features of {image}; run dvc repro features")
        shard, row = self.index[image]
        if shard not in self._open:
            path = self.folder / shard_name(shard)
            try:
                self._open[shard] = safe_open(path, framework="pt").get_slice("features")  # type: ignore[no-untyped-call]
            except (OSError, SafetensorError) as error:
                raise DataError(f"{path} cannot be read ({error}); {_REPEAT}") from error
        return self._open[shard][row]  # type: ignore[no-any-return]


def _checked_index(path: Path) -> dict[str, list[int]]:
    index = read_json(path, _REPEAT)
    places = index.values() if isinstance(index, dict) else [None]
    if not all(isinstance(place, list) and len(place) == 2 and all(type(n) is int for n in place) for place in places):
        raise DataError(f"{path} does not map images to [shard, row]; {_REPEAT}")
    checked: dict[str, list[int]] = index
    return checked
