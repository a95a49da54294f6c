"""The index finds every image by its name, and says which one it does not have."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.vision.feature_index import FeatureIndex

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), unique=True, max_size=40)


def index(names: list[str]) -> FeatureIndex:
    numbers = np.arange(len(names), dtype=np.int32)
    return FeatureIndex(np.array(sorted(names), dtype=np.dtypes.StringDType()), numbers // 7, numbers % 7)


@given(NAMES, st.randoms())
def test_every_image_is_found_in_any_order(names: list[str], random: Random) -> None:
    asked = names * 2
    random.shuffle(asked)
    found = index(names).find(asked)
    assert [sorted(names)[position] for position in found.tolist()] == asked


@pytest.mark.parametrize("name", ["a", "images/of a long name.jpg", "zzz", "images/of another long name.jpg2"])
def test_an_image_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        index(["b", "images/of another long name.jpg"]).find(["b", name])


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = index([f"images/{number:020}.jpg" for number in range(50)])
    written.write(tmp_path)
    read = FeatureIndex.read(tmp_path, "")
    assert (len(read), read.num_rows) == (50, 50)
    assert read.names.tolist() == written.names.tolist()
    assert np.array_equal(read.shards, written.shards) and np.array_equal(read.rows, written.rows)
