"""The feature store returns what was written, or says what is wrong with it, and can be pickled."""

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from tests.stored_features import write_features
from wordgaze.config.params import FeatureDtype
from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json
from wordgaze.vision.encoders import EncoderSpec, NetworkSpec
from wordgaze.vision.feature_index import FeatureIndex
from wordgaze.vision.feature_store import FeatureStore

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


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*"))


def index_of(folder: Path) -> dict[str, list[int]]:
    index = FeatureIndex.read(folder, "")
    return dict(zip(index.names.tolist(), map(list, zip(index.shards, index.rows, strict=True)), strict=True))


def write_index(folder: Path, places: dict[str, list[int]]) -> None:
    names = np.array(sorted(places), dtype=np.dtypes.StringDType())
    shards, rows = np.array([places[name] for name in sorted(places)], np.int32).T
    FeatureIndex(names, shards, rows).write(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_features(tmp_path, SPEC, IMAGES, features)
    return tmp_path


def test_features_are_read_as_written_in_any_order(folder: Path) -> None:
    store = FeatureStore(folder)
    assert [path.name for path in shards_of(folder)] == [f"shard-0000{n}-of-00004.safetensors" for n in range(4)]
    assert (store.spec, store.shape) == (SPEC, (5, 4, 3))
    order = ["4.jpg", "0.jpg", "3.jpg", "0.jpg"]
    read = store.read(order)
    assert read.dtype == torch.bfloat16
    assert torch.equal(read, features(order))


@pytest.mark.parametrize(("dtype", "size"), [("int8", 12), ("fp8", 12), ("bf16", 24)])
def test_features_in_eight_bits_are_read_as_bf16(tmp_path: Path, dtype: FeatureDtype, size: int) -> None:
    write_features(tmp_path, SPEC, IMAGES, features, dtype=dtype)
    store = FeatureStore(tmp_path)
    assert (store.dtype, store.bytes_per_picture) == (dtype, size)
    read = store.read(IMAGES)
    assert read.dtype == torch.bfloat16
    torch.testing.assert_close(read, features(IMAGES), rtol=0.07, atol=0.5)


def test_a_store_of_an_older_version_is_refused_with_the_way_out(folder: Path) -> None:
    (folder / "index.parquet").unlink()
    write_json(folder / "index.json", {"0.jpg": [0, 0]})
    with pytest.raises(DataError, match=r"older version of wordgaze; run dvc repro -f -s features"):
        FeatureStore(folder)


@pytest.mark.parametrize("name", ["shard-00001-of-00004.safetensors", "index.parquet", "manifest.json", "SHA256SUMS"])
def test_a_flipped_byte_is_found_wherever_it_is(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(flipped(content, place))
        with pytest.raises(DataError, match="run dvc repro -f -s features") as caught:
            FeatureStore(folder).read(IMAGES)
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_swapped_rows_of_the_index_are_found(folder: Path) -> None:
    index = index_of(folder)
    index[IMAGES[0]], index[IMAGES[1]] = index[IMAGES[1]], index[IMAGES[0]]
    write_index(folder, index)
    with pytest.raises(DataError, match=r"index.parquet is damaged: its SHA-256 is"):
        FeatureStore(folder)


def test_a_store_without_checksums_is_read(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    assert torch.equal(FeatureStore(folder).read(IMAGES), features(IMAGES))


@pytest.mark.parametrize("place", [[0, -1], [0, 9], [7, 0]])
def test_a_place_that_no_shard_has_is_refused(folder: Path, place: list[int]) -> None:
    write_index(folder, index_of(folder) | {IMAGES[0]: place})
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="run dvc repro -f -s features"):
        FeatureStore(folder).read(IMAGES)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_features_that_are_not_finite_are_refused_by_the_name_of_the_image(tmp_path: Path, value: float) -> None:
    def encode(images: Sequence[str]) -> torch.Tensor:
        spoiled = features(images)
        spoiled[[image == IMAGES[1] for image in images], 0, 0] = value
        return spoiled

    write_features(tmp_path, SPEC, IMAGES, encode)
    with pytest.raises(DataError, match=f"features of {IMAGES[1]} that are not finite numbers"):
        FeatureStore(tmp_path).read(IMAGES)


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
    (folder / "index.parquet").unlink()


def cut_shard(folder: Path) -> None:
    path = shards_of(folder)[0]
    path.write_bytes(path.read_bytes()[:-1])


def drop_shard(folder: Path) -> None:
    shards_of(folder)[0].unlink()


def spoil_index(folder: Path) -> None:
    (folder / "index.parquet").write_text('{"0.jpg": [0, 1], "1.jpg": 3}')


def index_without_rows(folder: Path) -> None:
    pq.write_table(pa.table({"image": IMAGES, "shard": [0] * 5}), folder / "index.parquet")


def index_of_numbers(folder: Path) -> None:
    pq.write_table(pa.table({"image": [1.5], "shard": ["x"], "row": [None]}), folder / "index.parquet")


def spoil_shape(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "shape": [1, 2]}))


@pytest.mark.parametrize("is_unchecked", [False, True])
@pytest.mark.parametrize(
    "spoil",
    [
        spoil_manifest,
        spoil_spec,
        spoil_shape,
        drop_index,
        spoil_index,
        index_without_rows,
        index_of_numbers,
        cut_shard,
        drop_shard,
    ],
)
def test_a_broken_store_is_reported_in_one_line_with_the_way_out(
    folder: Path, spoil: Callable[[Path], None], is_unchecked: bool
) -> None:
    spoil(folder)
    if is_unchecked:
        (folder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="run dvc repro") as caught:
        FeatureStore(folder).read(IMAGES)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_weights_of_the_encoder_are_read_or_reported_missing(folder: Path) -> None:
    with pytest.raises(DataError, match=r"encoder\.safetensors cannot be read .*; run dvc repro"):
        FeatureStore(folder).encoder_state()
