"""Equal files and images that look the same are found; different images are not."""

import io
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tests.inspection.folders import jpeg, photograph
from wordgaze.data.datasets.source import Found
from wordgaze.inspection.duplicates import across_splits, close_hashes, equal_files, near_duplicates
from wordgaze.inspection.pictures import InspectedPicture, inspect_pictures


def inspected(folder: Path, files: dict[str, bytes]) -> dict[str, InspectedPicture]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    found = inspect_pictures({name: Found(folder, PurePosixPath(name)) for name in files})
    return {name: each for name, each in found.items() if isinstance(each, InspectedPicture)}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 12), st.data())
def test_close_pairs_are_those_of_comparing_each_with_each(
    values: list[int], distance: int, data: st.DataObject
) -> None:
    near = [value ^ data.draw(st.integers(0, 2**64 - 1)) & data.draw(st.integers(0, 2**64 - 1)) for value in values]
    flipped = [value ^ (1 << data.draw(st.integers(0, 63))) for value in values]
    hashes = np.array([*values, *near, *flipped], dtype=np.uint64)
    every = {(a, b): (int(hashes[a]) ^ int(hashes[b])).bit_count() for b in range(len(hashes)) for a in range(b)}
    found = [
        ((image, int(other)), int(differing))
        for image, others, bits in close_hashes(hashes, distance)
        for other, differing in zip(others, bits, strict=True)
    ]
    assert sorted(found) == sorted((pair, bits) for pair, bits in every.items() if bits <= distance)


def test_a_copy_is_an_equal_file_and_no_near_duplicate_as_well(tmp_path: Path) -> None:
    photo = jpeg(photograph(1))
    found = inspected(tmp_path, {"b": photo, "a": photo, "c": jpeg(photograph(2))})
    assert equal_files(found) == [["a", "b"]]
    assert near_duplicates(found, {}) == []


def test_the_same_photograph_in_another_size_quality_or_light_is_a_near_duplicate(tmp_path: Path) -> None:
    photo = photograph(1, (640, 480))
    png = io.BytesIO()
    photo.resize((320, 240)).save(png, "PNG")
    files = {
        "original": jpeg(photo),
        "small": png.getvalue(),
        "poor": jpeg(photo, 15),
        "bright": jpeg(ImageEnhance.Brightness(photo).enhance(1.1)),
        **{f"other{number}": jpeg(photograph(number + 2)) for number in range(40)},
    }
    pairs = near_duplicates(inspected(tmp_path, files), {})
    assert {name for pair in pairs for name in (pair.first, pair.second)} == {"original", "small", "poor", "bright"}
    assert 2 <= len(pairs) <= 4  # each with the most similar one


def test_hundreds_of_frames_of_a_film_are_not_each_paired_with_each_and_leak_between_splits(tmp_path: Path) -> None:
    found = inspected(tmp_path, {"frame": jpeg(photograph(1))})["frame"]
    frames = {f"{number:03d}": replace(found, checksum=bytes([number % 256, number // 256])) for number in range(600)}
    splits = {name: "dev" if int(name) % 10 == 7 else "train" for name in frames}
    pairs = near_duplicates(frames, splits)
    assert len(pairs) <= 2 * len(frames)
    leaking = {name for pair in across_splits([(a, b) for a, b, _ in pairs], splits) for name in pair}
    assert leaking == set(frames)


def test_the_same_shapes_in_other_colours_are_another_image(tmp_path: Path) -> None:
    grey = Image.linear_gradient("L").resize((200, 200))
    black = Image.new("L", grey.size)
    files = {
        "red": jpeg(Image.merge("RGB", (grey, black, black))),
        "green": jpeg(Image.merge("RGB", (black, grey, black))),
    }
    assert near_duplicates(inspected(tmp_path, files), {}) == []


def test_images_without_contrast_are_compared_with_none(tmp_path: Path) -> None:
    files = {colour: jpeg(Image.new("RGB", (90, 90), colour)) for colour in ("grey", "#333", "white", "black")}
    assert near_duplicates(inspected(tmp_path, files), {}) == []


def test_only_pairs_in_different_splits_leak() -> None:
    splits = {"a": "train", "b": "test", "c": "train"}
    assert across_splits([("a", "b"), ("a", "c"), ("b", "c")], splits) == [("a", "b"), ("b", "c")]
