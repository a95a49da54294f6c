"""The feature store returns what was written, resumes after an interruption, and can be pickled."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json
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


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with one of them changed."""
    changed = bytearray(content)
    changed[place] ^= 0x41
    return bytes(changed)


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


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, None])
def test_a_half_done_shard_that_is_damaged_is_named_and_computed_again(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    write_shards(tmp_path, IMAGES[:4], 2, features, plain)
    shard, computed = tmp_path / "shard-00000.safetensors", []
    shard.write_bytes(flipped(shard.read_bytes(), -5) if damage is None else damage)

    def encode(images: Sequence[str]) -> torch.Tensor:
        computed.extend(images)
        return features(images)

    index = write_shards(tmp_path, IMAGES, 2, encode, plain)
    assert computed == [*IMAGES[:2], *IMAGES[4:]]
    [line] = caplog.messages
    assert "shard-00000.safetensors is damaged: its SHA-256 is" in line and line.endswith("it is computed again")
    write_manifest(tmp_path, SPEC, "", index, "bfloat16")
    assert torch.equal(FeatureStore(tmp_path).read(IMAGES), features(IMAGES))


def test_checksums_of_half_done_shards_that_are_damaged_cost_the_shards(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shards(tmp_path, IMAGES, 2, features, plain)
    (tmp_path / "SHA256SUMS").write_text("no checksum")
    write_manifest(tmp_path, SPEC, "", write_shards(tmp_path, IMAGES, 2, features, plain), "bfloat16")
    assert "SHA256SUMS is not a list of checksums" in caplog.text
    assert torch.equal(FeatureStore(tmp_path).read(IMAGES), features(IMAGES))


@pytest.mark.parametrize("name", ["shard-00000.safetensors", "index.json", "manifest.json", "SHA256SUMS"])
def test_a_flipped_byte_is_found_wherever_it_is(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(flipped(content, place))
        with pytest.raises(DataError, match="run dvc repro -f -s features") as caught:
            FeatureStore(folder).read(IMAGES)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_swapped_rows_of_the_index_are_found(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    index[IMAGES[0]], index[IMAGES[1]] = index[IMAGES[1]], index[IMAGES[0]]
    write_json(folder / "index.json", index)
    with pytest.raises(DataError, match=r"index.json is damaged: its SHA-256 is"):
        FeatureStore(folder)


def test_a_store_without_checksums_is_read(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    assert torch.equal(FeatureStore(folder).read(IMAGES), features(IMAGES))


@pytest.mark.parametrize("place", [[0, -1], [0, 9], [7, 0]])
def test_a_place_that_no_shard_has_is_refused(folder: Path, place: list[int]) -> None:
    index = json.loads((folder / "index.json").read_text())
    write_json(folder / "index.json", index | {IMAGES[0]: place})
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="run dvc repro -f -s features"):
        FeatureStore(folder).read(IMAGES)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_features_that_are_not_finite_are_refused_by_the_name_of_the_image(tmp_path: Path, value: float) -> None:
    def encode(images: Sequence[str]) -> torch.Tensor:
        spoiled = features(images)
        spoiled[[image == IMAGES[1] for image in images], 0, 0] = value
        return spoiled

    write_manifest(tmp_path, SPEC, "", write_shards(tmp_path, IMAGES, 2, encode, plain), "bfloat16")
    with pytest.raises(DataError, match=f"features of {IMAGES[1]} that are not finite numbers"):
        FeatureStore(tmp_path).read(IMAGES)


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def encode(names: Sequence[str]) -> Tensor:
        if "2.jpg" in names:
            raise ZeroDivisionError
        return features(names)

    with pytest.raises(ZeroDivisionError):
        write_shards(tmp_path, IMAGES, 2, encode, plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "shard-00000.safetensors"]


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
