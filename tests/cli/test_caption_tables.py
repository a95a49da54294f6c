"""``wordgaze caption`` on people's folders: what it writes is complete, and ``wordgaze score`` reads it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path, PurePath

import pyarrow.parquet
import pytest
from PIL import Image

from tests.cli.conftest import Run
from wordgaze.data.readers.captions import read_captions


def paths(out: str) -> list[str]:
    return [line.split("\t")[0] for line in out.splitlines()]


@pytest.fixture
def numbered(captioner_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes pictures that differ, at the given paths in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> None:
        for n, name in enumerate(names):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Image.linear_gradient("L").rotate(30 * n).resize((24, 16)).convert("RGB").save(Path(name), "PNG")

    return write


def test_case_one_broken_among_many(run: Run, numbered: Callable[..., None]) -> None:
    names = [f"photos/{n:02}.jpg" for n in range(20)]
    numbered(*names)
    Path("photos/19.jpg").write_bytes(Path("photos/18.jpg").read_bytes()[:60])
    code, out, err = run("caption", "photos", "--output", "said.csv", "--attention", "sheets")
    assert (code, paths(out)) == (1, names[:19])
    with Path("said.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == names
    assert [row["path"] for row in rows if row["caption"]] == names[:19]
    assert rows[19]["error"].startswith("photos/19.jpg: is ")
    assert err.splitlines()[-1] == "wordgaze: 1 of 20 images could not be captioned; see the errors above"
    assert len(list(Path("sheets").iterdir())) == 19


def test_case_table_names_pictures_by_their_last_part(run: Run, numbered: Callable[..., None]) -> None:
    numbered("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg", "dash/-1.jpg", "dash/@x.jpg")
    forms = ("csv", "jsonl", "parquet")
    assert run("caption", "a", "b", *(f"--output=said.{form}" for form in forms))[0] == 0
    assert run("caption", "dash", *(f"--output=d.{form}" for form in forms))[0] == 0
    lines = [json.loads(line) for line in Path("said.jsonl").read_text("utf-8").splitlines()]
    assert [line["name"] for line in lines] == ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg", "2.jpg"]
    assert pyarrow.parquet.read_table("said.parquet").to_pylist() == lines
    Path("refs.csv").write_text("image,caption\n" + "".join(f"{n},a box\n" for n in ("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg", "b/2.jpg")))  # fmt: skip
    Path("dash.csv").write_text("image,caption\n-1.jpg,a box\n@x.jpg,a box\n")
    for form in forms:
        code, out, err = run("score", f"said.{form}", "refs.csv")
        assert (code, err) == (0, "") and "5 images" in out
        assert run("score", f"d.{form}", "dash.csv")[0] == 0


def test_score_reads_a_table_with_errors_and_tells_them(run: Run, numbered: Callable[..., None]) -> None:
    numbered("p/0.jpg", "p/1.jpg", "p/2.jpg")
    Path("p/1.jpg").write_text("a dog")
    assert run("caption", "p", "--output", "said.csv")[0] == 1
    Path("refs.csv").write_text("image,caption\n0.jpg,a box\n1.jpg,a box\n2.jpg,a box\n")
    code, out, err = run("score", "said.csv", "refs.csv")
    assert code == 1 and "1 of 3 references have no caption ('1.jpg')" in err
    code, out, err = run("score", "said.csv", "refs.csv", "--partial")
    assert code == 0 and "2 images" in out


def test_case_attention_of_many_as_jpeg_is_told_before_captioning(run: Run, numbered: Callable[..., None]) -> None:
    numbered(*(f"many/{n:03}.jpg" for n in range(171)))
    assert run("caption", "many", "--attention", "out.jpg") == (
        1,
        "",
        "wordgaze: out.jpg is one file, and there are 171 pictures; give --attention the name of a folder\n",
    )
    code, out, _ = run("caption", "many", "--attention", "out", "--max-new-tokens", 1)
    assert (code, len(out.splitlines()), len(list(Path("out").glob("*.png")))) == (0, 171, 171)


@pytest.mark.parametrize(
    "folder", ["my [photos]", "50% off?", "#1*", "d\u00e9j\u00e0 vu", "a'b\"c", "-x", "$HOME", "a\nb"]
)
def test_a_folder_of_any_name_is_captioned(run: Run, numbered: Callable[..., None], folder: str) -> None:
    numbered(f"{folder}/x.jpg", f"{folder}/deep/y.JPG")
    code, out, _ = run(
        "caption", f"./{folder}", f"./{folder}/*.jpg", "-o", f"./{folder}/t.csv", "--attention", f"{folder}/s"
    )
    assert (code, len(out.splitlines())) == (0, 2)
    assert [PurePath(name).name for name in read_captions(Path(folder, "t.csv"))] == ["x.jpg", "y.JPG"]


def test_case_folder_of_unread_formats_is_captioned_or_says_what_it_holds(
    run: Run, numbered: Callable[..., None]
) -> None:
    numbered("jfif/p00.jfif", "jfif/p01.JPE", "jfif/a.jpg/p02.jp2")
    code, out, _ = run("caption", "jfif")
    assert (code, paths(out)) == (0, ["jfif/p00.jfif", "jfif/p01.JPE", "jfif/a.jpg/p02.jp2"])
    for n, name in enumerate(("a.svg", "b.NEF", "deep/c.nef")):
        Path("raw", name).parent.mkdir(parents=True, exist_ok=True)
        Path("raw", name).write_text(str(n))
    assert run("caption", "raw")[2] == (
        "wordgaze: raw: the folder holds images of formats that are not read (2 .nef, 1 .svg); save them as JPEG\n"
    )
