"""The feature store: a folder of safetensors shards with an index and a manifest.

manifest.json             what made the features: encoder, checksum of its weights, dtype, shape
encoder.safetensors       the encoder's weights
index.json                picture → [shard, row]
shard-00000.safetensors   features (N, L, D)
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json, write_tensors
from wordgaze.vision.encoders import EncoderSpec


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
    """Writes the features of ``images``, ``shard_size`` a file; shards that are there already are kept.

    ``encode`` gives the features (N, L, D) of some pictures, ``track(iterable, total)`` reports progress. Returns the
    index. A kill hypotheses whole shards only, so that the next call goes on behind them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(images), shard_size)
    for start in track(starts, len(starts)):
        path = folder / shard_name(start // shard_size)
        if not path.exists():
            write_tensors(path, {"features": encode(images[start : start + shard_size])})
    return {image: divmod(i, shard_size) for i, image in enumerate(images)}


def write_manifest(folder: Path, spec: EncoderSpec, weights_sha256: str, index: dict[str, Any], dtype: str) -> None:
    """Writes index and manifest, last, so that a folder with a manifest is whole."""
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
    """Gives something of pictures, by name: stored features, features computed anew, pixels."""

    def read(self, images: Sequence[str]) -> Tensor:
        """One row a picture, in their order."""
        ...


class FeatureStore:
    """Reads features by picture. Shards are opened when first used, so a store can be sent to another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            self.index: dict[str, list[int]] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            self.spec = EncoderSpec.model_validate(manifest["encoder"])
            self.shape: tuple[int, int, int] = tuple(manifest["shape"])
        except FileNotFoundError as error:
            raise DataError(
                f"{folder} holds no features ({error.filename} is missing); run dvc repro features"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder} holds broken features ({reason}); run dvc repro -f -s features") from error
        self._open: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights of the encoder that made these features."""
        return load_file(self.folder / "encoder.safetensors")

    def read(self, images: Sequence[str]) -> Tensor:
        """Features (B, L, D) of these pictures, in their order, as stored. Raises DataError for one it lacks."""
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
                raise DataError(f"{path} cannot be read ({error}); run dvc repro features") from error
        return self._open[shard][row]  # type: ignore[no-any-return]
