"""The place of a picture's features depends on the set of pictures alone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.stored_features import pictures_named
from wordgaze.core.errors import ImageError
from wordgaze.vision.picture_keys import PictureKeys, ShardNumber, read_keys, read_picture

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=24), unique=True, max_size=60)


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))), st.integers(1, 9))
def test_places_do_not_depend_on_the_order_of_the_images(orders: tuple[list[str], list[str]], shard_size: int) -> None:
    one, other = (pictures_named(names, shard_size) for names in orders)
    assert one.names.tolist() == other.names.tolist() == sorted(orders[0])
    assert np.array_equal(one.keys, other.keys)
    for mine, its in zip(one.places(), other.places(), strict=True):
        assert np.array_equal(mine, its)


@given(NAMES, st.integers(1, 9))
def test_every_picture_has_a_row_of_the_shard_that_its_key_begins_with(names: list[str], shard_size: int) -> None:
    pictures = pictures_named(names, shard_size)
    assert len(names) <= shard_size * pictures.num_shards
    shards = {shard.number: pictures.keys[rows] for shard, rows in pictures.shards()}
    assert sum(map(len, shards.values())) == len(names)
    for name, shard, row in zip(pictures.names, *pictures.places(), strict=True):
        key = hashlib.sha256(name.encode()).digest()
        assert bytes(shards[shard][row]) == key
        assert shard == int.from_bytes(key) * pictures.num_shards >> 256


def test_images_with_equal_contents_share_a_row() -> None:
    keys = np.zeros((3, 32), np.uint8)
    keys[1] = 255
    pictures = PictureKeys.of(["b", "c", "a"], keys, 1)
    assert (pictures.names.tolist(), len(pictures.keys), pictures.num_shards) == (["a", "b", "c"], 2, 2)
    assert [place.tolist() for place in pictures.places()] == [[0, 0, 1], [0, 0, 0]]
    assert [pictures.name_of(picture) for picture in range(2)] == ["a", "c"]


@pytest.mark.parametrize(
    "name", ["shard-0.safetensors", "shard-00001-of-00001.safetensors", "shard-00000-of-00003.safetensors", "index"]
)
def test_other_files_are_not_shards(name: str) -> None:
    assert ShardNumber.of_name(name) is None
    assert ShardNumber.of_name(ShardNumber(5, 8).name) == (5, 8)


def test_a_picture_that_changes_after_its_checksum_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 3)).save(path)
    [key] = read_keys(tmp_path, ["a.png"])
    assert bytes(key) == hashlib.sha256(path.read_bytes()).digest()
    assert read_picture(path, bytes(key)) == path.read_bytes()
    Image.new("RGB", (4, 3), "red").save(path)
    with pytest.raises(ImageError, match=r"a\.png: was changed while its features were computed; run dvc repro again"):
        read_picture(path, bytes(key))


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.png: there is no such file"):
        read_keys(tmp_path, ["a.png"])
