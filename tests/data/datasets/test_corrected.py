from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from wordgaze.app.corrections import Corrections
from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.core.errors import DataError
from wordgaze.data.datasets import open_dataset
from wordgaze.data.records import Record, assign_splits

PREPARE = PrepareParams()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Thirty images, of which some are in dev and test by their names."""
    folder = tmp_path / "album"
    folder.mkdir()
    lines = ["image,caption"]
    for i in range(30):
        Image.new("RGB", (20, 20), (8 * i, 90, 30)).save(folder / f"{i}.png")
        lines.append(f"{i}.png,picture number {i}")
    (folder / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def collect(tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> "Callable[[str], dict[str, Record]]":
    """``collect(corrections)``: the records by image, of the album with this folder of corrections."""
    monkeypatch.chdir(tmp_path)

    def run(corrections: str) -> dict[str, Record]:
        params = DatasetParams(name="folder", source=str(album), corrections=corrections)
        folder = tmp_path / f"raw-{corrections.replace('/', '-') or 'none'}"
        records = open_dataset(params, PREPARE, tmp_path / "cache").collect(folder).records
        assert {path.name for path in (folder / "images").iterdir()} == {each.image for each in records}
        assert not (folder / "corrections").exists()
        return {each.image: each for each in records}

    return run


def test_corrected_images_are_added_to_train_and_no_split_changes(
    tmp_path: Path, album: Path, collect: Callable[[str], dict[str, Record]]
) -> None:
    before = collect("")
    splits = {each.image: each.split for each in assign_splits(list(before.values()), 0.1, 0.1)}
    trained = next(name for name, split in splits.items() if split == "train")
    tested = next(name for name, split in splits.items() if split == "test")
    corrections = Corrections(tmp_path / "corrections.sqlite")
    corrections.add(Image.new("RGB", (9, 9), "red"), "new.png", "a dog", "a red square", "m", "1")
    corrections.add((album / trained).read_bytes(), "seen.png", "a dog", "a greenish square", "m", "1")
    corrections.add((album / tested).read_bytes(), "secret.png", "a dog", "of the test split", "m", "1")
    (tmp_path / "data/corrections").mkdir(parents=True)
    corrections.export(tmp_path / "data/corrections/1")
    after = collect("data/corrections/1")
    [added] = after.keys() - before.keys()
    assert (after[added].captions, after[added].split) == (("a red square",), "train")
    assert after[trained].captions == (*before[trained].captions, "a greenish square")
    assert after[tested] == before[tested]
    again = {each.image: each.split for each in assign_splits(list(after.values()), 0.1, 0.1)}
    assert {name: again[name] for name in splits} == splits


def test_a_missing_folder_of_corrections_is_named(collect: Callable[[str], dict[str, Record]]) -> None:
    with pytest.raises(DataError, match=r"dataset\.corrections: .*none/here is not a folder"):
        collect("none/here")
