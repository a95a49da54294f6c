"""The shards of a feature store: files of safetensors, which hold the features of some pictures with their keys.

features   (N, L, D) in bf16, int8 or fp8
scale      (N, D) in bf16, for int8 and fp8
pictures   (N, 32) uint8, the SHA-256 checksums of the pictures, sorted
norm       (N,) fp32, the mean over the grid of the norm of the features before they were stored; NaN if one of them is
           not a finite number
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wordgaze.config.params import FeatureDtype
from wordgaze.core.checksums import CHECKSUMS, check_file, read_checksums, read_tensors, write_checksums
from wordgaze.core.errors import DataError
from wordgaze.core.files import atomic_write, sha256, write_tensors
from wordgaze.core.progress import track
from wordgaze.distributed.ranks import Ranks
from wordgaze.vision.picture_keys import KEY_BYTES, PictureKeys, ShardNumber
from wordgaze.vision.quantisation import quantise
from wordgaze.vision.shard_objects import ShardObjects

GRIDS, PICTURES, NORM = "features", "pictures", "norm"

_TOGETHER = 1024  # pictures whose features are computed before their shards are written
_AGAIN = "it is computed again"

_log = logging.getLogger(__name__)

Encode = Callable[[Sequence[str], Sequence[bytes]], Tensor]
"""Computes the features (N, L, D) of the images with these names and keys."""


class ShardFolder:
    """The shards of a folder that were computed before, of whatever pictures, with their checksums.

    objects: where the shards are that the folder itself does not have.
    """

    def __init__(self, folder: Path, checksums: Mapping[str, str], objects: ShardObjects | None = None) -> None:
        self.folder, self.checksums, self.objects = folder, dict(checksums), objects
        self._totals = sorted({shard.total for name in checksums if (shard := ShardNumber.of_name(name))})
        self._damaged: set[str] = set()

    @classmethod
    def open(cls, folder: Path, objects: ShardObjects | None = None) -> "ShardFolder":
        """The shards that are in a folder's SHA256SUMS, or in the lists of several ranks; a damaged list has none, with
        a warning.

        A shard without a checksum is not there either: the process ended before it wrote that.
        """
        listed: dict[str, str] = {}
        for file in (CHECKSUMS, *(path.name for path in _lists_of_ranks(folder))):
            try:
                listed |= read_checksums(folder, remedy=_AGAIN, file=file)
            except DataError as error:
                _log.warning("%s", error)
        is_there = {name for name in listed if ShardNumber.of_name(name) and (objects or (folder / name).exists())}
        return cls(folder, {name: listed[name] for name in sorted(is_there)}, objects)

    def overlapping(self, shard: ShardNumber) -> list[str]:
        """The names of the shards that may have pictures of ``shard``."""
        return [name for name in self._names_of(shard) if name not in self._damaged]

    def path(self, name: str) -> Path:
        """The file of a shard. Raises DataError if it is an object that cannot be read."""
        path = self.folder / name
        return self.objects.fetch(self.checksums[name]) if self.objects and not path.exists() else path

    def keys(self, name: str) -> NDArray[np.uint8]:
        """The keys of a shard's pictures (N, KEY_BYTES); none, with a warning, if it cannot be read."""
        try:
            with safe_open(self.path(name), "pt") as file:
                keys: NDArray[np.uint8] = file.get_tensor(PICTURES).numpy()
            if keys.ndim != 2 or keys.shape[1] != KEY_BYTES or keys.dtype != np.uint8:
                raise ValueError(f"its keys have the shape {keys.shape}")
        except DataError as error:
            self._warn(name, f"{error}; {_AGAIN}")
            return np.empty((0, KEY_BYTES), np.uint8)
        except (OSError, SafetensorError, ValueError) as error:
            self._warn(name, f"{self.folder / name} cannot be read ({error}); {_AGAIN}")
            return np.empty((0, KEY_BYTES), np.uint8)
        return keys

    def is_undamaged(self, name: str) -> bool:
        """Whether a shard fits its checksum; a warning says if not."""
        try:
            check_file(self.path(name), self.checksums[name], _AGAIN)
        except DataError as error:
            self._warn(name, str(error))
        return name not in self._damaged

    def read(self, name: str) -> dict[str, Tensor]:
        """The tensors of a shard, in a mapped file; none, with a warning, if it is damaged."""
        try:
            return read_tensors(self.path(name), self.checksums[name], _AGAIN)
        except DataError as error:
            self._warn(name, str(error))
            return {}

    def _names_of(self, shard: ShardNumber) -> Iterator[str]:
        for total in self._totals:
            first = shard.number * total // shard.total
            end = -(-(shard.number + 1) * total // shard.total)
            names = (ShardNumber(number, total).name for number in range(first, end))
            yield from (name for name in names if name in self.checksums)

    def _warn(self, name: str, message: str) -> None:
        self._damaged.add(name)
        _log.warning("%s", message)


@dataclass
class _Plan:
    """A shard that is to be written, and where the rows of its pictures are. whole: the folder that has that shard."""

    shard: ShardNumber
    names: list[str]
    keys: list[bytes]
    whole: ShardFolder | None = None
    rows: dict[bytes, tuple[dict[str, Tensor], int]] = field(default_factory=dict)

    def missing(self) -> list[int]:
        """The pictures whose features are to be computed."""
        return [] if self.whole else [i for i, key in enumerate(self.keys) if key not in self.rows]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the shard."""
        rows = [self.rows[key] for key in self.keys]
        return {name: torch.stack([tensors[name][row] for tensors, row in rows]) for name in rows[0][0]}


def write_shards(
    folder: Path,
    pictures: PictureKeys,
    dtype: FeatureDtype,
    encode: Encode,
    previous: Sequence[ShardFolder] = (),
    ranks: Ranks | None = None,
) -> int:
    """Writes the shards of ``pictures`` to ``folder``, which may hold some of them, or others, from before.

    Only the features of pictures are computed that are neither there nor in ``previous``. Shards are written
    atomically, so a call after an interruption computes what is missing. A damaged shard counts as missing, with a
    warning. The checksums of the shards are in SHA256SUMS afterwards. Returns how many pictures were computed.

    Of several ranks, which share the folder, each writes every so many-th shard and a list of checksums of its own, so
    that what is done is kept for any number of ranks.
    """
    ranks = ranks or Ranks()
    folder.mkdir(parents=True, exist_ok=True)
    ranks.from_first(lambda: _merge_lists(folder))
    own = ShardFolder.open(folder)
    sources, shards = [own, *previous], list(pictures.shards())[ranks.rank :: ranks.world_size]
    checksums = dict(own.checksums) if ranks.is_first else {}
    file = CHECKSUMS if ranks.is_first else f"{CHECKSUMS}.{ranks.rank}"
    computed = 0
    if ranks.is_first:
        _report(pictures, sources)
    together = max(1, _TOGETHER * len(shards) * ranks.world_size // max(1, len(pictures.keys)))
    for start in track(range(0, len(shards), together), "features: shards"):
        plans = [_planned(pictures, shard, rows, sources) for shard, rows in shards[start : start + together]]
        computed += _compute(plans, dtype, encode)
        replaced = {plan.shard.name for plan in plans if plan.whole is not own} & set(checksums)
        if replaced:
            checksums = {name: value for name, value in checksums.items() if name not in replaced}
            write_checksums(folder, checksums, checksums, file)
        for plan in plans:
            checksums[plan.shard.name] = _write(plan, folder / plan.shard.name)
        write_checksums(folder, checksums, checksums, file)
    total = sum(ranks.all_gather(computed))
    ranks.from_first(lambda: _merge_lists(folder))
    return total


def _lists_of_ranks(folder: Path) -> list[Path]:
    """The lists of checksums that ranks other than the first have written."""
    return sorted(folder.glob(f"{CHECKSUMS}.*"))


def _merge_lists(folder: Path) -> None:
    """Puts the checksums of all ranks, of this run or of one that was interrupted, into SHA256SUMS."""
    if lists := _lists_of_ranks(folder):
        checksums = ShardFolder.open(folder).checksums
        write_checksums(folder, checksums, checksums)
        for path in lists:
            path.unlink()


def _report(pictures: PictureKeys, sources: Sequence[ShardFolder]) -> None:
    """Says how many pictures are known, if any are."""
    known, total = 0, len(pictures.keys)
    for shard, rows in pictures.shards():
        keys = {bytes(key) for source in sources for name in source.overlapping(shard) for key in source.keys(name)}
        known += sum(bytes(key) in keys for key in pictures.keys[rows])
    if known:
        _log.info("features: %s of %s images are known; %s are computed", f"{known:,}", f"{total:,}", total - known)


def _planned(pictures: PictureKeys, shard: ShardNumber, rows: slice, sources: Sequence[ShardFolder]) -> _Plan:
    """Finds what is known of a shard."""
    keys = pictures.keys[rows]
    plan = _Plan(shard, [pictures.name_of(i) for i in range(rows.start, rows.stop)], [bytes(key) for key in keys])
    wanted = set(plan.keys)
    for source in sources:
        for name in source.overlapping(shard):
            stored = source.keys(name)
            if name == shard.name and np.array_equal(stored, keys):
                if source.is_undamaged(name):
                    plan.whole = source
                    return plan
                continue
            found = {bytes(key): row for row, key in enumerate(stored)}
            new = (wanted & found.keys()) - plan.rows.keys()
            tensors = source.read(name) if new else {}
            if tensors:
                plan.rows.update({key: (tensors, found[key]) for key in new})
    return plan


def _compute(plans: Sequence[_Plan], dtype: FeatureDtype, encode: Encode) -> int:
    """Computes what no plan has found, all at once; returns how many pictures these are."""
    missing = [plan.missing() for plan in plans]
    names = [plan.names[i] for plan, rows in zip(plans, missing, strict=True) for i in rows]
    keys = [plan.keys[i] for plan, rows in zip(plans, missing, strict=True) for i in rows]
    if not names:
        return 0
    features, start = encode(names, keys), 0
    for plan, rows in zip(plans, missing, strict=True):
        own = keys[start : start + len(rows)]
        tensors = _tensors(features[start : start + len(rows)], own, dtype)
        plan.rows.update({key: (tensors, row) for row, key in enumerate(own)})
        start += len(rows)
    return len(names)


def _tensors(features: Tensor, keys: Sequence[bytes], dtype: FeatureDtype) -> dict[str, Tensor]:
    """The tensors of a shard with these features (N, L, D)."""
    if not keys:
        return {}
    norms = torch.tensor([_mean_norm(image) for image in features.unbind()], dtype=torch.float32)
    pictures = torch.from_numpy(np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES).copy())
    return {**quantise(features, dtype), PICTURES: pictures, NORM: norms}


def _mean_norm(image: Tensor) -> float:
    """The mean norm of the cells of an image (L, D), in NumPy, whose sums do not depend on the number of threads."""
    values = image.float().numpy()
    mean = float(np.sqrt(np.einsum("ld,ld->l", values, values, dtype=np.float64)).mean())
    return mean if np.isfinite(values).all() else float("nan")


def _write(plan: _Plan, path: Path) -> str:
    """Writes a shard, unless it is there; returns its checksum."""
    if plan.whole is None:
        write_tensors(path, plan.tensors())
        return sha256(path)
    if plan.whole.folder != path.parent:
        _copy(plan.whole.path(path.name).resolve(), path)
    return plan.whole.checksums[path.name]


def _copy(source: Path, target: Path) -> None:
    """A second name for a file that is read-only, as those of DVC's cache are; of any other file, a copy."""
    with atomic_write(target) as temporary:
        if not source.stat().st_mode & 0o222:
            temporary.unlink()
            try:
                os.link(source, temporary)
                return
            except OSError:  # another file system, or one that has no links
                pass
        shutil.copyfile(source, temporary)
