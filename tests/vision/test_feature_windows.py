"""Features that are larger than the memory are read file by file, in an order that seed and epoch decide."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.stored_features import write_features
from wordgaze.core.errors import DataError
from wordgaze.text.vocabulary import END
from wordgaze.training.batches import BatchLoader, Example
from wordgaze.vision import feature_windows
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.feature_store import FeatureStore
from wordgaze.vision.feature_windows import shards_per_window

HALF = (0.5, 0.5, 0.5)
NETWORK = NetworkSpec(name="timm/test_efficientnet", mean=HALF, std=HALF, layers=("",), channels=3)
SPEC = EncoderSpec(image_size=64, interpolation="bicubic", grid=(2, 2), networks=(NETWORK,))
IMAGES = [str(n) for n in range(200)]
ROW_BYTES = 4 * 3 * 2


def features(names: Sequence[str]) -> Tensor:
    return torch.tensor([float(name) for name in names]).view(-1, 1, 1).expand(-1, 4, 3).to(torch.bfloat16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("features")
    write_features(folder, SPEC, IMAGES, features, shard_size=8)
    return FeatureStore(folder)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of what all features take may be used, so a window has two of 32 shards."""
    monkeypatch.setattr(feature_windows, "machine_memory", lambda: len(IMAGES) * ROW_BYTES * 2 // 5)


def loader(store: FeatureStore, seed: int = 1) -> BatchLoader:
    return BatchLoader([Example(name, ((4, END),)) for name in IMAGES], store, 7, seed)


def order(loader: BatchLoader, epoch: int, first: int = 0, prefetch: bool = False) -> list[str]:
    batches = list(loader.epoch(epoch, first, prefetch))
    for batch in batches:
        assert torch.equal(batch.features, features(batch.images))
    return [image for batch in batches for image in batch.images]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("prefetch", [False, True])
def test_every_image_comes_once_an_epoch_in_an_order_of_seed_and_epoch(store: FeatureStore, prefetch: bool) -> None:
    first = order(loader(store), 0, prefetch=prefetch)
    assert sorted(first) == sorted(IMAGES)
    assert order(loader(store), 0) == first
    assert order(loader(store), 1) != first
    assert order(loader(store, seed=2), 0) != first


def test_a_process_with_more_memory_can_take_the_order_of_another(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = loader(store)
    assert other.window == 0
    monkeypatch.setattr(feature_windows, "machine_memory", lambda: len(IMAGES) * ROW_BYTES * 2 // 5)
    own = loader(store)
    other.shuffle_in(own.window)
    assert order(other, 0) == order(own, 0)
    other.shuffle_in(0)
    assert order(other, 0) != order(own, 0)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("first", [1, 13, 28])
def test_an_epoch_is_taken_up_midway(store: FeatureStore, first: int) -> None:
    own = loader(store)
    assert order(own, 3, first) == order(own, 3)[7 * first :]


@pytest.mark.usefixtures("little_memory")
def test_few_shards_are_in_memory_and_none_after_the_epoch(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = loader(store)
    windows = own.windows
    assert windows is not None and windows.window == 2
    opened: list[int] = []
    open_shard = store.open_shard

    def watched(shard: int) -> dict[str, Tensor]:
        opened.append(shard)
        return open_shard(shard)

    monkeypatch.setattr(store, "open_shard", watched)
    for _ in own.epoch(0):
        assert len(windows._loaded) <= 2 * windows.window
    assert sorted(opened) == sorted(set(store.index.shards.tolist()))  # each once
    assert windows._loaded == {}
    abandoned = own.epoch(1)
    next(abandoned)
    del abandoned
    assert windows._loaded == {}


@pytest.mark.usefixtures("little_memory")
def test_images_are_mixed_beyond_their_shard(store: FeatureStore) -> None:
    shards = store.find(order(loader(store), 0))[0].tolist()
    changes = sum(one != other for one, other in pairwise(shards))
    assert changes > 2 * len(set(shards))


@pytest.mark.usefixtures("little_memory")
def test_the_window_is_said_in_a_line(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert shards_per_window(store, IMAGES) == 2
    [line] = caplog.messages
    assert line.startswith("the features of 200 training images take 0.0 GB, more than half of the memory")
    assert "in windows of 2 of 32 files" in line


def test_what_fits_in_memory_is_shuffled_as_a_whole(store: FeatureStore) -> None:
    assert shards_per_window(store, IMAGES) == 0


@pytest.mark.usefixtures("little_memory")
def test_few_images_of_a_large_store_are_shuffled_as_a_whole(store: FeatureStore) -> None:
    assert shards_per_window(store, IMAGES[:20]) == 0


@pytest.mark.usefixtures("little_memory")
def test_a_damaged_shard_ends_the_epoch_with_its_name(tmp_path: Path) -> None:
    write_features(tmp_path, SPEC, IMAGES, features, shard_size=8)
    shard = sorted(tmp_path.glob("shard-*"))[5]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{shard.name} is damaged"):
        order(loader(FeatureStore(tmp_path)), 0)


@pytest.mark.usefixtures("little_memory")
def test_the_next_window_is_read_before_it_is_asked_for(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    own = loader(store)
    own.shuffle_in(1)
    windows, opened, ahead = own.windows, list[int](), threading.Event()
    assert windows is not None
    open_shard = store.open_shard

    def watched(shard: int) -> dict[str, Tensor]:
        opened.append(shard)
        if len(opened) == 2:
            ahead.set()
        return open_shard(shard)

    monkeypatch.setattr(store, "open_shard", watched)
    own.batch_size = 1
    epoch = own.epoch(0)
    next(epoch)
    assert ahead.wait(10)
    assert windows._loaded.keys() == set(opened[:1])
