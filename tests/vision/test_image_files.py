"""Image files are found by path, folder, pattern and list, in a fixed order, each once."""

import io
import os
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from wordgaze.core.errors import ImageError
from wordgaze.vision.image_files import STDIN, ImageFile, ImageFiles, find_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a tree of empty files."""
    monkeypatch.chdir(tmp_path)
    names = "b.PNG a.jpeg c.tiff notes.txt .hidden.jpg deep.jpg/d.jpg deep.jpg/er/e.heic .git/f.jpg z/g.jpg"
    for name in names.split():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    return Path("tree")


def found(*paths: str | Path, **settings: object) -> list[str]:
    return [str(each.path) for each in ImageFiles(tuple(map(Path, paths)), **settings) if isinstance(each, ImageFile)]  # type: ignore[arg-type]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


ALL = ["tree/a.jpeg", "tree/b.PNG", "tree/c.tiff", "tree/deep.jpg/d.jpg", "tree/deep.jpg/er/e.heic", "tree/z/g.jpg"]


def test_a_folder_is_searched_with_its_subfolders(folder: Path) -> None:
    assert found(folder) == ALL
    assert ImageFiles((folder,)).total == 6
    names = [each.name for each in ImageFiles((folder,)) if isinstance(each, ImageFile)]
    assert names[3] == PurePath("deep.jpg/d.jpg")


def test_a_file_is_taken_whatever_its_name(folder: Path) -> None:
    assert found("tree/notes.txt", folder / "z") == ["tree/notes.txt", "tree/z/g.jpg"]
    assert find_images([folder / "notes.txt"]) == [folder / "notes.txt"]


def test_a_file_that_is_named_twice_is_taken_once(folder: Path) -> None:
    assert found("tree/z/g.jpg", folder, "tree/*.jpeg") == ["tree/z/g.jpg", *ALL[:-1]]
    assert ImageFiles((folder, folder)).total == 6


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("tree/*", ["tree/a.jpeg", "tree/b.PNG", "tree/c.tiff", "tree/deep.jpg/d.jpg", "tree/deep.jpg/er/e.heic", "tree/z/g.jpg"]),
        ("tree/*.*g", ["tree/a.jpeg", "tree/deep.jpg/d.jpg", "tree/deep.jpg/er/e.heic"]),
        ("tree/[bc].*", ["tree/b.PNG", "tree/c.tiff"]),
        ("tree/**/*.jpg", ["tree/deep.jpg/d.jpg", "tree/deep.jpg/er/e.heic", "tree/z/g.jpg"]),
        ("tree/**/?.jpg", ["tree/deep.jpg/d.jpg", "tree/z/g.jpg"]),
        ("**/er/*", ["tree/deep.jpg/er/e.heic"]),
        ("**", ALL),
        ("*/z/g.jpg", ["tree/z/g.jpg"]),
        ("*/z/gone.jpg", []),
        ("*/notes.txt/*", []),
    ],
)  # fmt: skip
def test_a_pattern_is_expanded_as_a_shell_expands_it(folder: Path, pattern: str, names: list[str]) -> None:
    assert sorted(found(pattern)) == names
    absolute = Path.cwd() / pattern
    assert sorted(found(absolute)) == [str(Path.cwd() / name) for name in names]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "a[1].jpg").touch()
    assert found("tree/a[1].jpg") == ["tree/a[1].jpg"]


def test_links_to_folders_are_not_followed_and_a_broken_link_is_kept_for_the_report(folder: Path) -> None:
    (folder / "z" / "loop").symlink_to(Path.cwd() / folder)
    (folder / "z" / "loop.jpg").symlink_to(Path.cwd() / folder)
    (folder / "z" / "own.jpg").symlink_to("own.jpg")
    (folder / "z" / "linked.jpg").symlink_to("g.jpg")
    assert found(folder / "z") == ["tree/z/g.jpg", "tree/z/linked.jpg", "tree/z/own.jpg"]
    assert found("tree/z/**/*.jpg") == ["tree/z/g.jpg", "tree/z/linked.jpg", "tree/z/own.jpg"]
    assert found("tree/z/loop")[0] == "tree/z/loop/a.jpeg"  # one that is named is searched


def test_a_folder_of_results_is_not_searched(folder: Path) -> None:
    assert found(folder, skip=frozenset({(folder / "deep.jpg").resolve()})) == [*ALL[:3], "tree/z/g.jpg"]


def test_folders_nested_deeper_than_python_recurses_are_searched(folder: Path) -> None:
    depth, here = sys.getrecursionlimit() + 100, os.open(folder / "z", os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.png", os.O_CREAT, dir_fd=here))
    os.close(here)
    names = [found(path)[-1] for path in (folder / "z", Path("tree/z/**/*.png"))]
    subprocess.run(["rm", "-rf", folder / "z"], check=True)  # pytest deletes by recursion
    assert all(name.endswith("/d/d/deep.png") for name in names)


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_is_read_from_a_file_and_from_stdin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, separator: bytes
) -> None:
    data = separator.join([b"tree/a.jpeg", b"", b"gone.jpg", b"tree/z", os.fsencode(Path.cwd() / "tree/a.jpeg")])
    names = ["tree/a.jpeg", "gone.jpg", "tree/z/g.jpg", str(Path.cwd() / "tree/a.jpeg")]
    Path("list").write_bytes(data)
    assert found(lists=(Path("list"),)) == names
    stdin(monkeypatch, data + separator)
    files = ImageFiles((STDIN, folder / "z"))
    assert files.total is None
    assert [str(each.path) for each in files if isinstance(each, ImageFile)] == names
    stdin(monkeypatch, data)
    assert found(lists=(STDIN,)) == names


def test_a_list_is_read_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    os.write(write, b"a.jpg\nb.j")
    files = iter(ImageFiles(lists=(STDIN,)))
    assert next(files) == ImageFile(Path("a.jpg"), PurePath("a.jpg"))
    os.write(write, b"pg\n")
    assert next(files) == ImageFile(Path("b.jpg"), PurePath("b.jpg"))
    os.close(write)
    assert next(files, None) is None
    sys.stdin.close()


def test_a_name_with_a_line_break_comes_from_a_list_with_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"a\nb.jpg\0caf\xe9.jpg\0")
    assert found("-") == ["a\nb.jpg", os.fsdecode(b"caf\xe9.jpg")]


def test_what_does_not_exist_is_refused_before_any_work(folder: Path) -> None:
    (folder / "empty").mkdir()
    for path, reason in (
        ("gone", "gone: there is no such file or folder"),
        ("tree/empty", "tree/empty: the folder holds no images"),
        ("tree/*.bmp", "tree/\\*.bmp: no image matches this pattern"),
    ):
        with pytest.raises(ImageError, match=reason):
            assert ImageFiles((Path(path),)).total
        with pytest.raises(ImageError, match=reason):
            find_images([Path(path)])
    with pytest.raises(FileNotFoundError):
        assert ImageFiles(lists=(Path("gone.txt"),)).total


def test_a_folder_that_cannot_be_listed_is_an_error_among_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def scan(path: Path) -> object:
        if Path(path).name == "er":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    errors = [str(each) for each in ImageFiles((folder,)) if isinstance(each, ImageError)]
    assert errors == ["tree/deep.jpg/er: cannot be searched (Permission denied); check its permissions"]
    assert found(folder) == [*ALL[:4], ALL[5]]
    with pytest.raises(ImageError, match="cannot be searched"):
        find_images([folder])
