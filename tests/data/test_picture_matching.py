"""A name means the picture with the longest common tail, by the strictest comparison that finds one, and never two."""

import time
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordgaze.core.errors import CaptionsError
from wordgaze.data.picture_matching import AmbiguousNameError, PictureIndex

TWELVE = [f"images/p{n:02}.jpg" for n in range(12)]


def index(*paths: str) -> PictureIndex:
    return PictureIndex(map(PurePosixPath, paths))


def found(name: str, *paths: str, beside: str = "") -> str | None:
    path = index(*paths).find(name, PurePosixPath(beside))
    return None if path is None else str(path)


@pytest.mark.parametrize(
    "name",
    [
        "images/p03.jpg", "./images/p03.jpg", "../images/p03.jpg", "x/../images/p03.jpg", "p03.jpg", "p03", "P03.JPG", "p03.jpeg", "p03.png",
        "/data/set/images/p03.jpg", "root/images/p03.jpg", "D:\\set\\images\\p03.jpg", "C:p03.jpg", "\\\\server\\share\\p03.jpg",
        "file:///C:/set/images/p03.jpg", "https://host.org/a/p03.jpg?size=large#top", "s3://bucket/images/p03.jpg", "images%2Fp03.jpg",
        " p03.jpg ", "images / p03.jpg", "\ufeffp03.jpg", '"p03.jpg"', "p03.jpg.", "Images/p03.jpg", "IMAGES/P03.JPG", "ｐ０３.jpg", "images//p03.jpg",
    ],
)  # fmt: skip
def test_case_paths_as_people_write_them(name: str) -> None:
    assert found(name, *TWELVE, beside="annotations") == "images/p03.jpg"


@pytest.mark.parametrize(
    ("name", "paths", "right"),
    [
        ("391895", ["train/COCO_train2014_000000391896.jpg", "val/COCO_val2014_000000391895.jpg"], 1),
        ("COCO_val2014_000000391895.jpg", ["000000391895.jpg", "000000391896.jpg"], 0),
        ("12", ["00012.png", "00112.png"], 0),  # a spreadsheet program removed the zeros
        ("00012", ["00012.png", "12.png"], 0),
        ("12", ["00012.png", "12.png"], 1),
        ("12.0", ["00012.png", "120.png"], 0),  # numbers with gaps, as pandas writes them
    ],
)
def test_a_number_means_the_picture_of_that_number(name: str, paths: list[str], right: int) -> None:
    assert found(name, *paths) == paths[right]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (unicodedata.normalize("NFD", "café.jpg"), "café.jpg"),
        ("café.jpg", unicodedata.normalize("NFD", "café.jpg")),
        ("caf%C3%A9.jpg", "café.jpg"),
        ("caf\\xe9.jpg", "caf\udce9.jpg"),
        ("café.jpg", "caf\udce9.jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("a/b.jpg", "a\\b.jpg"),  # unpacked from a zip of Windows
        ("a.jpg", " a.jpg"),
        ("STRASSE.jpg", "straße.jpg"),
        ("x" * 251 + ".jpg", "X" * 251 + ".JPG"),
    ],
)
def test_a_path_is_found_in_another_spelling(name: str, path: str) -> None:
    assert found(name, path, "other.jpg") == path


def test_a_name_written_as_the_path_is_preferred_to_all_others() -> None:
    paths = ["a.jpg", "A.jpg", "a.JPG", "a.png", "x/a.jpg", "café.jpg", unicodedata.normalize("NFD", "café.jpg")]
    assert [found(path, *paths) for path in paths] == paths


def test_the_longest_tail_decides() -> None:
    paths = ["d0/0.jpg", "d1/0.jpg", "d1/d0/0.jpg"]
    assert found("/root/d1/0.jpg", *paths) == "d1/0.jpg"
    assert found("/root/d1/d0/0.jpg", *paths) == "d1/d0/0.jpg"
    assert found("D1/0.png", *paths) == "d1/0.jpg"
    assert found("/root/0.jpg", "0.jpg", "x/0.jpg") == "0.jpg"


def test_of_equal_names_the_one_beside_the_captions_is_meant_and_then_the_nearest() -> None:
    paths = ["0.jpg", "train/images/0.jpg", "val/images/0.jpg", "val/0.jpg"]
    assert found("0.jpg", *paths, beside="val") == "val/0.jpg"
    assert found("0.jpg", *paths, beside="train") == "0.jpg"
    assert found("images/0.jpg", *paths, beside="train/annotations") == "train/images/0.jpg"


def test_a_name_that_fits_several_is_refused_with_their_paths() -> None:
    with pytest.raises(
        AmbiguousNameError, match=r"'0\.jpg' matches a/0\.jpg and b/0\.jpg; write the path of one"
    ) as one:
        found("0.jpg", "a/0.jpg", "b/0.jpg")
    assert isinstance(one.value, CaptionsError)
    with pytest.raises(AmbiguousNameError, match=r"a/0\.jpg and b/0\.jpg and c/0\.jpg and 2 more"):
        found("0", *(f"{folder}/0.jpg" for folder in "abcde"))
    with pytest.raises(AmbiguousNameError, match=r"a\.jpg and A\.jpg"):
        found("a.JPG", "a.jpg", "A.jpg")


def test_what_only_looks_alike_is_not_found_and_the_nearest_is_shown() -> None:
    pictures = index(*TWELVE, "z.png")
    for name in ("p1", "p030.jpg", "images", "", "..", "/", "jpg", "xp03.jpg", "p03.jpg/x"):
        assert pictures.find(name) is None
    assert pictures.nearest("somewhere/P03x.jpg") == PurePosixPath("images/p03.jpg")
    assert pictures.nearest("") is not None
    assert index().nearest("a.jpg") is None


def test_how_well_a_name_fits_is_said() -> None:
    pictures = index("x/a.jpg", "007.jpg")
    certain = {name: pictures.match(name) for name in ("x/a.jpg", "a.jpg", "r/x/a.jpg", "A.jpg", "a", "7")}
    assert [match.is_certain for match in certain.values() if match] == [True, True, False, False, False, False]
    assert [match.is_by_number for match in certain.values() if match] == [False] * 5 + [True]


PARTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0%?#:", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cf"]),
    min_size=1,
    max_size=6,
).filter(lambda part: not part.startswith((".", "'", '"')) and not part.endswith((".", "'", '"')))  # fmt: skip
PATHS = st.lists(
    st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: f"{'/'.join(parts)}.jpg"), min_size=1, max_size=6, unique=True
)  # fmt: skip


@given(PATHS)
def test_every_picture_is_found_by_its_path(paths: list[str]) -> None:
    assert [found(path, *paths) for path in paths] == paths


@given(PATHS, st.sampled_from([lambda p: f"/r/{p}", lambda p: f"D:\\{p}".replace("/", "\\"), lambda p: f"./{p}", lambda p: f" {p}", lambda p: unicodedata.normalize("NFD", p)]))  # type: ignore[misc]  # fmt: skip
def test_another_spelling_finds_the_picture_itself_or_says_that_there_are_several(paths: list[str], respelled) -> None:  # type: ignore[no-untyped-def]
    same = {unicodedata.normalize("NFC", path) for path in paths}
    for path in paths:
        name = respelled(path)
        try:
            match = found(name, *paths)
        except AmbiguousNameError:
            assert len(paths) > 1
        else:
            assert match is not None
            assert match == path or len(same) < len(paths) or name in paths


@given(PATHS, st.text(max_size=12))
def test_any_text_is_one_picture_or_none_or_refused_in_one_line(paths: list[str], name: str) -> None:
    try:
        assert found(name, *paths, beside="x") in {None, *paths}
    except AmbiguousNameError as error:
        assert len(str(error).splitlines()) == 1


@given(PATHS, st.randoms())
def test_the_order_of_the_pictures_does_not_matter(paths: list[str], random) -> None:  # type: ignore[no-untyped-def]
    names = [PurePosixPath(path).stem for path in paths]
    shuffled = random.sample(paths, len(paths))
    for name in names:
        results = []
        for order in (paths, shuffled):
            try:
                results.append(found(name, *order))
            except AmbiguousNameError:
                results.append("several")
        assert results[0] == results[1]


def test_120_000_pictures_of_one_name_are_looked_up_in_seconds() -> None:
    pictures = index(*(f"train/{number}/image.jpg" for number in range(120_000)))
    began = time.perf_counter()
    for number in range(0, 120_000, 10):
        assert pictures.find(f"/data/Train/{number}/IMAGE.jpg") is not None
        with pytest.raises(AmbiguousNameError):
            pictures.find(f"/other/{number}x/image.jpg")
    assert time.perf_counter() - began < 60
