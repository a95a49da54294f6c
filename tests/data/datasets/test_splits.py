"""Of every data set, and whatever is chosen of it: no picture in two splits, and the fewer among the more."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.datasets.tiny import bars, coco, images, karpathy, pictures, table, tokens, write
from wordgaze.config.params import DatasetParams, PrepareParams, ScenesParams
from wordgaze.data.datasets import open_dataset
from wordgaze.data.records import Record, assign_splits

Names = list[str]
Made = dict[str, str]


def captions(names: Names) -> dict[str, list[str]]:
    return {name: [f"This is {name}", "again"] for name in names}


def splits(names: Names) -> dict[str, str]:
    return {name: ("train", "restval", "val", "test")[number % 4] for number, name in enumerate(names)}


def flickr8k(folder: Path, names: Names) -> Made:
    lists = {
        f"Flickr_8k.{part}Images.txt": "\n".join(names[start::3]) for start, part in enumerate(("train", "dev", "test"))
    }
    write(folder, {"Flickr8k.token.txt": tokens(captions(names)), **lists, **pictures(names, "Flicker8k_Dataset/")})
    return {"name": "flickr8k"}


def flickr30k(folder: Path, names: Names) -> Made:
    write(folder, {"results.csv": bars(captions(names)), **pictures(names, "flickr30k_images/")})
    return {"name": "flickr30k"}


def flickr30k_karpathy(folder: Path, names: Names) -> Made:
    write(folder, {"k/dataset.json": karpathy(captions(names), splits(names)), **pictures(names)})
    return {"name": "flickr30k", "karpathy": str(folder / "k" / "dataset.json")}


def coco_official(folder: Path, names: Names) -> Made:
    parts = {"train": names[2:], "val": names[:2]}
    files = {f"captions_{part}2017.json": coco(captions(of_one)) for part, of_one in parts.items()}
    for part, of_one in parts.items():
        write(folder, pictures(of_one, f"{part}2017/"))
    write(folder, files)
    return {"name": "coco"}


def own(folder: Path, names: Names) -> Made:
    write(folder, {"captions.csv": table(captions(names), splits(names[::2])), **pictures(names, "deep/")})
    return {"name": "folder"}


def own_twice(folder: Path, names: Names) -> Made:
    paths = [f"{sub}/{name}" for name in names for sub in ("x", "y")]
    write(folder, {"captions.csv": table(captions(paths)), **pictures(paths)})
    return {"name": "folder"}


NAMES = st.lists(
    st.text("ab_-.0", min_size=1, max_size=5).filter(lambda name: name[0] not in ".-").map(lambda name: f"{name}.jpg"),
    min_size=3,
    max_size=12,
    unique=True,
)
COUNT = st.integers(0, 4)


def collect(base: Path, **values: object) -> list[Record]:
    prepare = PrepareParams(dev_share=0.3, test_share=0.3)
    dataset = open_dataset(DatasetParams.model_validate(values), prepare, base / "cache")
    records = dataset.collect(base / "raw").records
    assert images(base / "raw").keys() == {record.image for record in records}
    return assign_splits(records, prepare.dev_share, prepare.test_share)


def by_split(records: list[Record]) -> dict[str | None, set[str]]:
    found: dict[str | None, set[str]] = {}
    for record in records:
        found.setdefault(record.split, set()).add(record.image)
    return found


@pytest.mark.parametrize("make", [flickr8k, flickr30k, flickr30k_karpathy, coco_official, own, own_twice])
@settings(max_examples=20)
@given(names=NAMES, counts=st.tuples(COUNT, COUNT, COUNT))
def test_no_picture_is_in_two_splits_and_the_fewer_are_among_the_more(
    tmp_path_factory: pytest.TempPathFactory,
    make: Callable[[Path, Names], Made],
    names: Names,
    counts: tuple[int, int, int],
) -> None:
    base = tmp_path_factory.mktemp("data")
    made = {**make(base / "source", names), "source": str(base / "source")}
    everything = collect(base, **made)
    assert len({record.image for record in everything}) == len(everything)
    whole = by_split(everything)
    keys = dict(zip(("max_train_images", "max_dev_images", "max_test_images"), counts, strict=True))
    few = by_split(collect(base, **made, **keys))
    more = by_split(collect(base, **made, **{key: count and count + 1 for key, count in keys.items()}))
    for split, count in zip(("train", "dev", "test"), counts, strict=True):
        taken = few.get(split, set())
        assert taken <= more.get(split, set()) <= whole.get(split, set())
        assert len(taken) == min(count or len(names) * 2, len(whole.get(split, set())))


def test_of_the_scenes_too_only_so_many_are_kept(tmp_path: Path) -> None:
    scenes = ScenesParams(num_images=60, image_size=64)
    everything = by_split(collect(tmp_path, name="scenes", scenes=scenes))
    few = by_split(collect(tmp_path, name="scenes", scenes=scenes, max_train_images=7, max_test_images=2))
    assert {split: len(taken) for split, taken in few.items()} == {"train": 7, "dev": 5, "test": 2}
    assert all(taken <= everything[split] for split, taken in few.items())
    assert max(few["train"]) > "scene-00020.jpg"  # not the first ones


def test_a_choice_is_spread_and_the_same_whatever_else_there_is(tmp_path: Path) -> None:
    names = [f"{number:04d}.jpg" for number in range(300)]
    flickr30k_karpathy(tmp_path / "k", names)
    made = {"source": str(tmp_path / "k"), "name": "flickr30k", "karpathy": str(tmp_path / "k/k/dataset.json")}
    alone = by_split(collect(tmp_path, **made, max_train_images=20))
    with_others = by_split(collect(tmp_path, **made, max_train_images=20, max_dev_images=3))
    assert alone["train"] == with_others["train"]
    thirds = [sum(start <= int(name[:4]) < start + 100 for name in alone["train"]) for start in (0, 100, 200)]
    assert min(thirds) >= 3


def test_captioned_pictures_that_are_missing_are_not_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = flickr30k(tmp_path / "source", [f"{number}.jpg" for number in range(20)])
    for number in range(10):
        (tmp_path / "source" / "flickr30k_images" / f"{number}.jpg").unlink()
    chosen = collect(
        tmp_path, **made, source=str(tmp_path / "source"), max_train_images=3, max_dev_images=1, max_test_images=1
    )
    assert len(chosen) == 5
    assert "10 of 20 captioned images are missing" in caplog.text
