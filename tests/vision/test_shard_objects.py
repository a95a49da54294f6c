"""Features are read from an address as from a folder, through a bounded cache, and what is wrong there is named."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from torch import Tensor

from tests.stored_features import write_features
from wordgaze.core import storage
from wordgaze.core.checksums import read_checksums
from wordgaze.core.errors import DataError, ParamsError
from wordgaze.core.files import sha256
from wordgaze.core.storage import ATTEMPTS
from wordgaze.vision import shard_objects
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.feature_windows import FeatureWindows, shards_per_window
from wordgaze.vision.shard_objects import ShardObjects

HALF = (0.5, 0.5, 0.5)
NETWORK = NetworkSpec(name="timm/test_efficientnet", mean=HALF, std=HALF, layers=("",), channels=3)
SPEC = EncoderSpec(image_size=64, interpolation="bicubic", grid=(2, 2), networks=(NETWORK,))
IMAGES = [str(n) for n in range(40)]


class Unsteady(MemoryFileSystem):  # type: ignore[misc]
    """A server that answers some requests with an error first."""

    protocol = "unsteady"
    errors: list[Exception] = []  # noqa: RUF012

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        if self.errors:
            raise self.errors.pop()
        super().get_file(rpath, lpath, **options)


def features(names: Sequence[str]) -> Tensor:
    return torch.tensor([float(name) for name in names]).view(-1, 1, 1).expand(-1, 4, 3).to(torch.bfloat16)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address with nothing there; the cache lies in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(storage, "FIRST_PAUSE", 0.0)
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    monkeypatch.setattr(Unsteady, "errors", [])
    yield "unsteady://bucket/features"
    MemoryFileSystem.store.clear()


def write(address: str) -> Path:
    """Features whose shards are at the address, and not in the cache."""
    folder = Path("features")
    write_features(folder, SPEC, IMAGES, features, shard_size=4, address=address)
    for path in cached():
        path.unlink()
    return folder


def cached() -> list[Path]:
    return sorted(Path(".scratch/feature-cache").glob("*.safetensors"))


def test_features_are_read_from_an_address_as_from_a_folder(address: str) -> None:
    store = FeatureStore(write(address))
    assert not list(Path("features").glob("shard-*"))
    order = IMAGES[::-3]
    assert torch.equal(store.read(order), features(order))
    assert len(cached()) == len({*store.find(order)[0].tolist()})
    MemoryFileSystem.store.clear()
    assert torch.equal(FeatureStore(Path("features")).read(order), features(order))  # of the cache


def test_the_cache_is_bounded_and_keeps_what_was_used_last(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(write(address))
    size = 1200  # bytes; a shard has 700 or so
    monkeypatch.setattr(shard_objects, "_NEWEST", 1)
    monkeypatch.setenv("WORDGAZE_FEATURE_CACHE_GB", str(2 * size / 1e9))
    for image in IMAGES:
        assert torch.equal(store.read([image]), features([image]))
        kept = cached()
        assert sum(path.stat().st_size for path in kept) <= 2 * size
        name = next(name for name in store._checksums if name.startswith(f"shard-{store.find([image])[0][0]:05d}"))
        assert f"{store._checksums[name]}.safetensors" in {path.name for path in kept}
        assert len(store._open) <= len(kept)


def test_features_that_are_larger_than_the_cache_are_read_in_windows(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = FeatureStore(write(address))
    assert shards_per_window(store, IMAGES) == 0
    monkeypatch.setenv("WORDGAZE_FEATURE_CACHE_GB", str(len(IMAGES) * 24 / 2 / 1e9))
    caplog.set_level("INFO")
    window = shards_per_window(store, IMAGES)
    assert 0 < window < store.num_shards
    assert "more than WORDGAZE_FEATURE_CACHE_GB; they are shuffled in windows" in caplog.text
    windows = FeatureWindows(store, IMAGES, window)
    order = [IMAGES[i] for i in windows.shuffle(np.random.default_rng(1))]
    assert torch.equal(torch.cat([windows.read([image]) for image in order]), features(order))


def of_server(status: int) -> OSError:
    return OSError(5, f"An error occurred ({status}) when calling the GetObject operation: Slow Down")


def test_errors_of_a_server_are_tried_again(address: str) -> None:
    store = FeatureStore(write(address))
    Unsteady.errors += [of_server(503), TimeoutError("timed out"), RuntimeError("of another library")]
    assert torch.equal(store.read(IMAGES[:1]), features(IMAGES[:1]))


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (
            ATTEMPTS * [of_server(503)],
            r"features/\w+.safetensors cannot be read \(.*Slow Down\); check the address, the network",
        ),
        ([FileNotFoundError("no such key")], r"cannot be read \(no such key\); run dvc repro -f -s features, which"),
        (
            [PermissionError("Access Denied")],
            r"cannot be read \(Access Denied\); check the address, the network and your",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_reason(address: str, errors: list[Exception], message: str) -> None:
    store = FeatureStore(write(address))
    Unsteady.errors += errors
    with pytest.raises(DataError, match=message):
        store.read(IMAGES[:1])
    assert cached() == [] and not list(Path(".scratch/feature-cache").glob(".*.new-*"))


def test_a_damaged_object_is_named_and_not_kept(address: str) -> None:
    store = FeatureStore(write(address))
    for file in MemoryFileSystem.store.values():
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    message = r"^unsteady://bucket/features/\w{64}.safetensors is damaged: its SHA-256 is \w{12}…; delete it there, and"
    with pytest.raises(DataError, match=message):
        store.read(IMAGES[:1])
    assert cached() == []


def test_a_damaged_file_of_the_cache_is_read_again(address: str) -> None:
    folder = write(address)
    FeatureStore(folder).read(IMAGES)
    for path in cached():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1])
    assert torch.equal(FeatureStore(folder).read(IMAGES), features(IMAGES))
    assert all(sha256(path) == path.stem for path in cached())


def test_an_object_that_is_there_is_not_written_again_unless_it_was_cut_off(address: str, tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(b"contents")
    checksum = sha256(path)
    files, place = fsspec.url_to_fs(f"{address}/{checksum}.safetensors")
    objects = ShardObjects(address)
    objects.store(path, checksum)
    written = files.modified(place)
    objects.store(path, checksum)
    assert files.modified(place) == written
    files.pipe_file(place, b"cont")
    objects.store(path, checksum)
    assert files.cat_file(place) == b"contents"


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "nothing://bucket",
            r"features.address: nothing://bucket/\w+.safetensors is not an address that can be read \(Protocol not known",
        ),
        (
            "file:///dev/null/features",
            r"file:///dev/null/features/\w+.safetensors cannot be written \(.*Not a directory",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_named(where: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(b"contents")
    with pytest.raises((DataError, ParamsError), match=message):
        ShardObjects(where).store(path, sha256(path))


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize("size", ["none", "0", "-1", "nan"])
def test_the_limit_of_the_cache_is_a_number(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDGAZE_FEATURE_CACHE_GB", size)
    with pytest.raises(ParamsError, match=f"WORDGAZE_FEATURE_CACHE_GB is '{size}'; set it to a number of gigabytes"):
        shard_objects.cache_bytes()
    monkeypatch.setenv("WORDGAZE_FEATURE_CACHE_GB", "1e300")  # as good as none
    assert shard_objects.cache_bytes() == sys.maxsize


@pytest.mark.usefixtures("address")
def test_features_are_read_from_a_bucket(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    folder = write("s3://team/features")
    assert torch.equal(FeatureStore(folder).read(IMAGES), features(IMAGES))
    assert {path.stem for path in cached()} <= {*read_checksums(folder).values()}
    with pytest.raises(DataError, match=r"s3://nobody/features/\w+.safetensors cannot be written \(.*bucket"):
        ShardObjects("s3://nobody/features").store(cached()[0], cached()[0].stem)
