"""Of the columns of a caption file, the one decides by which most pictures are found; then each row for itself."""

from pathlib import Path, PurePosixPath

from wordgaze.data.datasets.naming import NamedPictures, flat_names, name_pictures, pictures_by_name
from wordgaze.data.datasets.source import Found
from wordgaze.data.picture_matching import PictureIndex
from wordgaze.data.readers.captions import ById


def named(
    ids: list[str], aliases: dict[str, dict[str, str]], paths: list[str], others: tuple[str, ...] = ()
) -> NamedPictures:
    captions: ById[list[str]] = ById()
    captions.update({key: ["x"] for key in ids})
    captions.aliases = aliases
    indexes = (PictureIndex(map(PurePosixPath, each)) for each in (paths, others))
    return name_pictures(captions, *indexes)


def test_the_column_with_most_pictures_decides_and_then_the_row() -> None:
    aliases = {"title": {"a": "1", "b": "2"}, "path": {"p/a.jpg": "1", "p/b.jpg": "2", "p/none.jpg": "3"}}
    result = named(["1", "2", "c.jpg", "3"], aliases, ["p/a.jpg", "p/b.jpg", "p/c.jpg", "1.png", "p/003.jpg"])
    assert result.column == "path"
    assert {key: str(path) for key, path in result.paths.items()} == {
        "1": "p/a.jpg",
        "2": "p/b.jpg",
        "c.jpg": "p/c.jpg",
    }
    assert result.names == {"1": "p/a.jpg", "2": "p/b.jpg", "c.jpg": "c.jpg", "3": "p/none.jpg"}
    assert result.faults == []


def test_ids_are_used_where_no_column_is_better() -> None:
    result = named(
        ["391895", "7"], {"flickr_url": {"http://x/y_z.jpg": "7"}}, ["COCO_val2014_000000391895.jpg", "0007.jpg"]
    )
    assert (result.column, len(result.paths)) == ("", 2)


def test_names_without_the_extension_of_a_picture_are_found_whole() -> None:
    result = named(["x/6f1e", "y/6f1e", "LICENS", "b.jpg"], {}, ["a.jpg"], ("x/6f1e", "LICENSE", "b.jpg."))
    assert {key: str(path) for key, path in result.paths.items()} == {"x/6f1e": "x/6f1e", "b.jpg": "b.jpg."}


def test_names_in_a_data_set_are_unique_file_names_in_utf8() -> None:
    paths = [
        "a.jpg",
        "A.jpg",
        "x/a.jpg",
        "x__a.jpg",
        "caf\udce9.jpg",
        "/abs/c.jpg",
        "/abs/d/c.jpg",
        "b" * 251 + ".jpg",
        "y/b.jpg",
    ]
    flat = flat_names(list(map(PurePosixPath, paths)))
    names = list(flat.values())
    assert flat[PurePosixPath("caf\udce9.jpg")] == "caf\u00e9.jpg"
    assert flat[PurePosixPath("y/b.jpg")] == "b.jpg"
    assert len({name.casefold() for name in names}) == len(paths)
    assert all("/" not in name and len(name.encode()) <= 200 and name.endswith(".jpg") for name in names)


def test_public_data_sets_are_found_in_the_names_of_either_year_and_no_file_is_taken_twice() -> None:
    files = [
        Found(Path("x"), PurePosixPath(path))
        for path in ("train/COCO_train2014_000000000009.jpg", "7.JPG", "old/7.JPG")
    ]
    names = ["000000000009.jpg", "7.jpg", "007.jpg", "000000000010.jpg"]
    found = pictures_by_name(names[:2], files)
    assert {name: str(file.path) for name, file in found.items()} == {names[0]: str(files[0].path), "7.jpg": "7.JPG"}
    exact = pictures_by_name(["a.jpg", "A.jpg"], [Found(Path("x"), PurePosixPath("a.jpg"))])
    assert [*exact] == ["a.jpg"]
