"""Small feature stores for tests, without image files: the key of a picture is the checksum of its name."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from wordgaze.config.params import FeatureDtype
from wordgaze.core.files import sha256
from wordgaze.vision.encoders import EncoderSpec
from wordgaze.vision.feature_shards import ShardFolder, write_shards
from wordgaze.vision.feature_store import ENCODER, write_manifest
from wordgaze.vision.picture_keys import KEY_BYTES, PictureKeys
from wordgaze.vision.shard_objects import ShardObjects


def pictures_named(names: Sequence[str], shard_size: int) -> PictureKeys:
    """Pictures of which each has one name."""
    keys = b"".join(hashlib.sha256(name.encode()).digest() for name in names)
    return PictureKeys.of(names, np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES), shard_size)


def write_features(
    folder: Path,
    spec: EncoderSpec,
    names: Sequence[str],
    encode: Callable[[Sequence[str]], Tensor],
    shard_size: int = 2,
    dtype: FeatureDtype = "bf16",
    previous: Sequence[ShardFolder] = (),
    address: str = "",
) -> None:
    """Writes a whole store; the weights of the encoder are in the folder already, if they are needed. The shards go to
    the address, if there is one."""
    pictures = pictures_named(names, shard_size)
    write_shards(folder, pictures, dtype, lambda of, keys: encode(of), previous)
    weights = sha256(folder / ENCODER) if (folder / ENCODER).exists() else ""
    write_manifest(folder, spec, weights, pictures, dtype, {}, address)
    for path in folder.glob("shard-*") if address else ():
        ShardObjects(address).store(path, sha256(path))
        path.unlink()
