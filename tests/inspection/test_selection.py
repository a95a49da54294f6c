import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inspection.captioners import calibrated
from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.inference.captioner import Captioner
from wordgaze.inspection.selection import choose_diverse, select_pictures

rows = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=30
)  # two coordinates and an uncertainty


@given(rows, st.integers(1, 40))
def test_as_many_rows_as_asked_for_are_chosen_each_once(values: list[tuple[float, float, float]], number: int) -> None:
    table = np.array(values)
    chosen = [place for place, _ in choose_diverse(table[:, :2], table[:, 2], number)]
    assert len(chosen) == len(set(chosen)) == min(number, len(values))
    assert chosen == [place for place, _ in choose_diverse(table[:, :2], table[:, 2], number)]
    assert table[chosen[0], 2] >= table[:, 2].max() - 1e-3


def test_a_copy_of_a_chosen_image_comes_last_however_uncertain() -> None:
    embeddings = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [-1.0, 0]])
    chosen = [place for place, _ in choose_diverse(embeddings, np.array([0.9, 0.9, 0.1, 0.2]), 4)]
    assert chosen == [0, 3, 2, 1]


@pytest.fixture(scope="module")
def captioner(write_captioner: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    return calibrated(write_captioner(tmp_path_factory.mktemp("captioner") / "c"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    Scenes(60, 64, 3).collect(tmp_path)
    for path in sorted((tmp_path / "images").iterdir())[12:]:
        path.unlink()
    return tmp_path / "images"


def test_the_images_of_a_folder_are_chosen_whatever_their_names_and_order(
    captioner: Captioner, pictures: Path, tmp_path: Path
) -> None:
    files = sorted(pictures.iterdir())
    shutil.copy(files[0], pictures / "a-copy.jpg")
    (pictures / "broken.jpg").write_bytes(b"no image")
    chosen = select_pictures(captioner, pictures, 5)
    assert len({each.checksum for each in chosen}) == 5
    assert [each.rank for each in chosen] == [1, 2, 3, 4, 5]
    assert chosen == select_pictures(captioner, pictures, 5)
    again = select_pictures(captioner, pictures, 50, frozenset(each.checksum for each in chosen))
    assert {each.checksum for each in again} == {sha256(path) for path in files} - {each.checksum for each in chosen}


def test_a_folder_in_which_every_image_is_captioned_is_refused(captioner: Captioner, pictures: Path) -> None:
    known = frozenset(sha256(path) for path in pictures.iterdir())
    with pytest.raises(DataError, match="no image left"):
        select_pictures(captioner, pictures, 5, known)
