"""The feature store returns what was written, resumes after an interruption, and can be pickled."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.feature_store import FeatureStore, write_manifest, write_shards

HALF = (0.5, 0.5, 0.5)
SPEC = EncoderSpec(
    image_size=64,
    interpolation="bicubic",
    grid=(2, 2),
    networks=(NetworkSpec(name="timm/test_efficientnet", mean=HALF, std=HALF, layers=("",), channels=3),),
)
IMAGES = [f"{n}.jpg" for n in range(5)]


def features(names: Sequence[str]) -> Tensor:
    """(N, 4, 3), different for each picture."""
    start = torch.tensor([float(name.removesuffix(".jpg")) for name in names], dtype=torch.bfloat16)
    return (start[:, None] * 16 + torch.arange(12)).view(-1, 4, 3).to(torch.bfloat16)


def plain(items: Iterable[int], total: int) -> Iterable[int]:
    return items


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = write_shards(tmp_path, IMAGES, 2, features, plain)
    write_manifest(tmp_path, SPEC, "0" * 64, index, "bfloat16")
    return tmp_path


def test_features_are_read_as_written_in_any_order(folder: Path) -> None:
    store = FeatureStore(folder)
    assert sorted(path.name for path in folder.glob("shard-*")) == [f"shard-0000{n}.safetensors" for n in range(3)]
    assert (store.spec, store.shape) == (SPEC, (5, 4, 3))
    order = ["4.jpg", "0.jpg", "3.jpg", "0.jpg"]
    read = store.read(order)
    assert read.dtype == torch.bfloat16
    assert torch.equal(read, features(order))


def test_shards_that_are_there_are_kept(folder: Path) -> None:
    (folder / "shard-00001.safetensors").unlink()
    asked: list[Sequence[str]] = []

    def encode(names: Sequence[str]) -> Tensor:
        asked.append(names)
        return features(names)

    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("shard-*")}
    write_shards(folder, IMAGES, 2, encode, plain)
    assert asked == [["2.jpg", "3.jpg"]]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert torch.equal(FeatureStore(folder).read(IMAGES), features(IMAGES))


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def encode(names: Sequence[str]) -> Tensor:
        if "2.jpg" in names:
            raise ZeroDivisionError
        return features(names)

    with pytest.raises(ZeroDivisionError):
        write_shards(tmp_path, IMAGES, 2, encode, plain)
    assert [path.name for path in tmp_path.iterdir()] == ["shard-00000.safetensors"]


def test_a_picture_without_features_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no features of 7\.jpg; run dvc repro features"):
        FeatureStore(folder).read(["1.jpg", "7.jpg"])


def test_an_open_store_can_be_sent_to_another_process(folder: Path) -> None:
    store = FeatureStore(folder)
    store.read(IMAGES)
    assert torch.equal(pickle.loads(pickle.dumps(store)).read(["1.jpg"]), features(["1.jpg"]))  # noqa: S301


def spoil_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def spoil_spec(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["encoder"]["grid"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def drop_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def cut_shard(folder: Path) -> None:
    path = folder / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def drop_shard(folder: Path) -> None:
    (folder / "shard-00000.safetensors").unlink()


def spoil_index(folder: Path) -> None:
    (folder / "index.json").write_text('{"0.jpg": [0, 1], "1.jpg": 3}')


def list_as_index(folder: Path) -> None:
    (folder / "index.json").write_text("[1]")


def index_of_another_encoding(folder: Path) -> None:
    (folder / "index.json").write_bytes(b'{"\xe9.jpg": [0, 0]}')


def spoil_shape(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "shape": [1, 2]}))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_manifest,
        spoil_spec,
        spoil_shape,
        drop_index,
        spoil_index,
        list_as_index,
        index_of_another_encoding,
        cut_shard,
        drop_shard,
    ],
)
def test_a_broken_store_is_reported_in_one_line_with_the_way_out(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(DataError, match="run dvc repro") as caught:
        FeatureStore(folder).read(IMAGES)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_weights_of_the_encoder_are_read_or_reported_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=r"encoder\.safetensors cannot be read .*; run dvc repro"):
        FeatureStore(folder).encoder_state()
