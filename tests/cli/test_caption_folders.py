"""``wordgaze caption`` on folders, lists and patterns: sidecars, copies, templates, and what happens when it is killed."""

import csv
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from tests.cli.conftest import CHECKOUT, Refused, Run, files
from tests.disk import full_disk
from tests.inference.metadata import read_metadata, read_sidecar
from wordgaze.core.tables import unguard_formula
from wordgaze.inference import caption_files, encode_ahead, runtimes
from wordgaze.inference.inputs import BATCH_SIZE
from wordgaze.inference.xmp import new_packet
from wordgaze.vision.encoders import CPU_BATCH
from wordgaze.vision.images import load_image


@pytest.fixture
def tree(captioner_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six pictures, one of them broken; it lies in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = Path("tree")
    for n, name in enumerate(("a.jpg", "b.png", "deep/a.jpg", "deep/er/c.webp", "z.jpg")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").rotate(30 * n).resize((24, 16)).convert("RGB").save(folder / name)
    (folder / "broken.jpg").write_text("a dog")
    return folder


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def paths(out: str) -> list[str]:
    return [line.split("\t")[0] for line in out.splitlines()]


def captions(out: str) -> dict[str, str]:
    return dict(line.split("\t") for line in out.splitlines())


WHOLE = ["tree/a.jpg", "tree/b.png", "tree/z.jpg", "tree/deep/a.jpg", "tree/deep/er/c.webp"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["tree"], WHOLE),
        (["tree/**/a.jpg"], ["tree/a.jpg", "tree/deep/a.jpg"]),
        (["tree/*.*g"], WHOLE[:3]),
        (["tree/deep/er/c.webp", "tree/**"], ["tree/deep/er/c.webp", *WHOLE[:4]]),
    ],
)
def test_folders_and_patterns_are_searched(run: Run, tree: Path, arguments: list[str], found: list[str]) -> None:
    (tree / "broken.jpg").unlink()
    code, out, err = run("caption", *arguments)
    assert (code, err) == (0, "")
    assert paths(out) == found


def test_a_list_comes_from_stdin_or_a_file(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "tree/z.jpg\ntree/gone.jpg\ntree/deep\n"
    expected = (1, ["tree/z.jpg", "tree/deep/a.jpg", "tree/deep/er/c.webp"], [
        "wordgaze: tree/gone.jpg: there is no such file; check the path",
        "wordgaze: 1 of 4 images could not be captioned; see the errors above",
    ])  # fmt: skip
    Path("list.txt").write_text(listed)
    for arguments in (["-"], ["--files-from", "-"], ["--files-from", "list.txt"]):
        stdin(monkeypatch, listed.encode())
        code, out, err = run("caption", *arguments)
        assert (code, paths(out), err.splitlines()) == expected
    stdin(monkeypatch, listed.replace("\n", "\0").encode())
    code, out, err = run("caption", "-")
    assert (code, paths(out), err.splitlines()) == expected


def test_nothing_to_caption_is_a_wrong_command_line(run: Run, refused: Refused, tree: Path) -> None:
    code, out, err = run("caption")
    assert (code, out) == (2, "")
    assert "--files-from" in err
    assert refused("caption", "--files-from", "gone.txt") == "No such file or directory: gone.txt"
    assert refused("caption", "tree/*.bmp") == "tree/*.bmp: no image matches this pattern; check it"


def test_the_first_caption_does_not_wait_for_the_last_file(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are opened, and even asked for their size, a batch and a few images per core at a time."""
    picture = (tree / "a.jpg").read_bytes()
    for n in range(100):
        (tree / f"deep/{n:03}.jpg").write_bytes(picture)
    opened = []

    def load(path: Path) -> Image.Image:
        opened.append(path)
        return load_image(path)

    monkeypatch.setattr(caption_files, "decode_safely", load)
    monkeypatch.setattr(encode_ahead, "available_cpus", lambda: 3)
    results = run_library(tree, tables=(Path("t.csv"),))
    next(results)
    assert len(opened) <= BATCH_SIZE + CPU_BATCH * (3 + 1)
    results.close()


def run_library(tree: Path, **outputs: Any) -> Any:
    from wordgaze.generation.config import GenerationConfig

    files = caption_files.ImageFiles((tree,))
    return caption_files.caption_files(
        files, [Path("models/stage2")], GenerationConfig(max_new_tokens=3), caption_files.FileOutputs(**outputs)
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_every_name_is_one_line_and_one_row(run: Run, tree: Path) -> None:
    odd = [b"a\nb.jpg", b"'a\".jpg", b"\x1b[31mred.jpg", "abc\u202egpj.jpg".encode(), b"caf\xe9.jpg", b"=1+1.jpg"]
    shutil.rmtree(tree / "deep")
    for path in tree.iterdir():
        path.unlink()
    for n, name in enumerate(odd):
        Image.new("RGB", (8, 8 + n), "red").save(tree / os.fsdecode(name))
    (tree / "no\npicture.jpg").write_text("a dog")
    code, out, err = run("caption", "tree", "-o", "t.csv", "-o", "t.jsonl", "-o", "t.parquet", "--sidecar", "txt")
    assert code == 1
    assert len(out.splitlines()) == len(odd)
    assert len(err.splitlines()) == 2 and err.startswith("wordgaze: tree/no�picture.jpg: is not a")
    assert not set(out + err) & set("\x1b\u202e\udce9")
    with Path("t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = sorted([*(name.decode(errors="backslashreplace") for name in odd), "no\npicture.jpg"])
    assert sorted(unguard_formula(row["name"]) for row in rows) == shown
    lines = [json.loads(line) for line in Path("t.jsonl").read_text("utf-8").splitlines()]
    assert sorted(line["name"] for line in lines) == shown
    assert pyarrow.parquet.read_table("t.parquet").to_pylist() == lines
    assert len(list(tree.glob("*.txt"))) == len(odd)
    printed = [json.loads(line) for line in run("caption", "tree", "--json")[1].splitlines()]
    assert sorted(os.fsencode(line["path"]) for line in printed) == sorted(b"tree/" + name for name in odd)


def test_json_lines_have_the_columns_of_a_table(run: Run, tree: Path) -> None:
    code, out, _ = run("caption", "tree/deep", "--json", "--num-return-sequences", 2, "-o", "t.jsonl")
    assert code == 0
    printed = [json.loads(line) for line in out.splitlines()]
    assert printed == [json.loads(line) for line in Path("t.jsonl").read_text("utf-8").splitlines()]
    assert [(row["name"], row["path"]) for row in printed] == [
        ("a.jpg", "tree/deep/a.jpg"), ("a.jpg", "tree/deep/a.jpg"),
        ("c.webp", "tree/deep/er/c.webp"), ("c.webp", "tree/deep/er/c.webp"),
    ]  # fmt: skip
    assert {(row["confidence"], row["error"]) for row in printed} == {(None, None)}


def test_a_text_lies_beside_each_picture_and_is_kept(run: Run, tree: Path) -> None:
    code, out, err = run("caption", "tree", "--sidecar", "txt")
    assert (code, err.count("\n")) == (1, 2)
    for path, caption in captions(out).items():
        assert Path(path).with_suffix(".txt").read_text() == f"{caption}\n"
    assert not (tree / "broken.txt").exists()
    (tree / "a.txt").write_text("by hand")
    (tree / "z.txt").unlink()
    code, again, err = run("caption", "tree", "--sidecar", "txt")  # what has its text is not captioned again
    assert (code, again) == (1, f"tree/z.jpg\t{captions(out)['tree/z.jpg']}\n")
    assert "texts, descriptions and copies that exist and were kept: 4; --overwrite replaces them\n" in err
    assert (tree / "a.txt").read_text() == "by hand"
    assert run("caption", "tree", "--sidecar", "txt", "--overwrite")[1] == out
    assert (tree / "a.txt").read_text() == f"{captions(out)['tree/a.jpg']}\n"


def test_two_pictures_of_one_stem_have_two_texts(run: Run, tree: Path) -> None:
    shutil.copy(tree / "b.png", tree / "a.png")
    (tree / "broken.jpg").unlink()
    code, out, err = run("caption", "tree/*", "--sidecar", "txt", "--sidecar", "xmp")
    assert (code, err) == (0, "warning: tree/a.txt belongs to another image; tree/a.png.txt is used\n")
    assert (tree / "a.txt").read_text().strip() == captions(out)["tree/a.jpg"]
    assert (tree / "a.png.txt").read_text().strip() == captions(out)["tree/a.png"]
    assert read_sidecar(tree / "a.png.xmp") == captions(out)["tree/a.png"]


def test_an_xmp_sidecar_receives_the_description_and_keeps_all_else(run: Run, tree: Path) -> None:
    (tree / "broken.jpg").unlink()
    rating = b'<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" rdf:about="" xmp:Rating="4"/>'
    rated = new_packet("X").replace(b"</rdf:RDF>", rating + b"</rdf:RDF>")
    start, end = rated.index(b" <rdf:Description"), rated.index(rating)
    (tree / "a.jpg.xmp").write_bytes(rated[:start] + rated[end:])
    (tree / "b.png.xmp").write_bytes(new_packet("by hand"))
    (tree / "z.jpg.xmp").write_text("no XMP")
    code, out, err = run("caption", "tree", "--sidecar", "xmp")
    assert (code, paths(out)) == (1, ["tree/a.jpg", "tree/deep/a.jpg", "tree/deep/er/c.webp"])
    assert err.splitlines()[0].startswith("wordgaze: tree/z.jpg.xmp: is not valid XMP (")
    assert (
        err.splitlines()[1] == "texts, descriptions and copies that exist and were kept: 1; --overwrite replaces them"
    )
    for path, caption in captions(out).items():
        assert read_sidecar(Path(f"{path}.xmp")) == caption
    assert rating in (tree / "a.jpg.xmp").read_bytes()
    assert read_sidecar(tree / "b.png.xmp") == "by hand"
    assert (tree / "z.jpg.xmp").read_text() == "no XMP"


def test_copies_hold_the_description_and_the_pictures_stay(run: Run, tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    for folder in ("copies", "tree/copies"):  # one inside the folder that is searched is not searched itself
        code, out, _ = run("caption", "tree", "--embed", folder)
        assert (code, paths(out)) == (1, WHOLE)
        for path, caption in captions(out).items():
            copy = Path(folder) / Path(path).relative_to("tree")
            if copy.suffix == ".webp":
                assert copy.read_bytes() == Path(path).read_bytes()
                assert read_sidecar(copy.with_name("c.webp.xmp")) == caption
            else:
                assert read_metadata(copy.read_bytes())[0] == caption
                assert Image.open(copy).tobytes() == Image.open(path).tobytes()
        assert run("caption", "tree", "--embed", folder)[1] == ""
    assert {path: path.read_bytes() for path in before} == before


def test_copies_of_one_name_from_two_folders_have_numbers(run: Run, tree: Path) -> None:
    code, _, err = run("caption", "tree/a.jpg", "tree/deep/a.jpg", "--embed", "copies")
    assert (code, err) == (0, "warning: copies/a.jpg belongs to another image; copies/a-2.jpg is used\n")
    assert sorted(path.name for path in Path("copies").iterdir()) == ["a-2.jpg", "a.jpg"]


def test_a_template_is_filled_wherever_the_caption_appears(run: Run, refused: Refused, tree: Path) -> None:
    plain = captions(run("caption", "tree/a.jpg")[1])["tree/a.jpg"]
    options = ("--template", "A photo of {caption} ({stem})", "-o", "t.csv", "--sidecar", "txt")
    code, out, _ = run("caption", "tree/a.jpg", *options)
    assert (code, captions(out)) == (0, {"tree/a.jpg": f"A photo of {plain} (a)"})
    assert f"A photo of {plain} (a)" in Path("t.csv").read_text()
    assert (tree / "a.txt").read_text() == f"A photo of {plain} (a)\n"
    line = refused("caption", "tree/a.jpg", "--template", "{title}")
    assert line.startswith("{title} is not a valid field of a template; use {caption}, {name}, ")


@pytest.fixture
def confident(monkeypatch: pytest.MonkeyPatch) -> None:
    """The captioner's confidence of the pictures is 0.1, 0.3, 0.5, … in their order."""

    load = runtimes.load_runtime

    class Confident:
        def __init__(self, *arguments: Any) -> None:
            self.runtime = load(*arguments)

        def captions(self, *arguments: Any) -> Iterator[Any]:
            number = 0
            for result in self.runtime.captions(*arguments):
                known = [dataclasses.replace(each, confidence=0.1 + 0.2 * number) for each in result.captions]
                number += bool(known)
                yield result._replace(captions=known)

    monkeypatch.setattr(caption_files, "load_runtime", Confident)


@pytest.mark.usefixtures("confident")
def test_an_unsure_caption_is_answered_unsure(run: Run, tree: Path) -> None:
    code, out, _ = run(
        "caption", "tree", "--min-confidence", 0.5, "-o", "t.jsonl", "--sidecar", "txt", "--sidecar", "xmp"
    )
    assert code == 1
    sure = {path: caption != "unsure" for path, caption in captions(out).items()}
    assert list(sure.values()) == [False, False, True, True, True]
    rows = [json.loads(line) for line in Path("t.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if not row["error"]]
    assert [row["confidence"] for row in rows] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert [bool(row["caption"]) for row in rows] == list(sure.values())
    for path, is_sure in sure.items():
        assert Path(path).with_suffix(".txt").exists() == Path(f"{path}.xmp").exists() == is_sure


@pytest.fixture
def unlike(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the captioner find every n-th picture, from the first one on, unlike those of its training."""
    load = runtimes.load_runtime

    def mark(step: int) -> None:
        def marked(*given: Any) -> Any:
            runtime = load(*given)

            def captions(*arguments: Any) -> Iterator[Any]:
                number = 0
                for result in runtime.captions(*arguments):
                    marks = [dataclasses.replace(each, is_outlier=number % step == 0) for each in result.captions]
                    number += bool(marks)
                    yield result._replace(captions=marks)

            return SimpleNamespace(captions=captions)

        monkeypatch.setattr(caption_files, "load_runtime", marked)

    return mark


def test_images_unlike_those_of_the_training_are_warned_of_in_one_line(
    run: Run, tree: Path, unlike: Callable[[int], None]
) -> None:
    unlike(2)
    warnings = [line for line in run("caption", "tree")[2].splitlines() if line.startswith("warning: ")]
    assert warnings == [
        "warning: 3 of 5 images are unlike the images that the captioner was trained on; captions and confidence may "
        "be wrong"
    ]
    code, _, err = run("caption", "tree/a.jpg")
    assert (code, err) == (
        0,
        "warning: tree/a.jpg is unlike the images that the captioner was trained on; the caption and its confidence "
        "may be wrong\n",
    )


def test_a_captioner_without_calibration_is_refused_for_a_confidence(refused: Refused, tree: Path) -> None:
    for arguments, what in (
        (("--min-confidence", 0.5), "--min-confidence"),
        (("--template", "{confidence}"), "{confidence}"),
    ):
        line = refused("caption", "tree/a.jpg", *arguments, "--sidecar", "txt", "-o", "t.csv")
        assert line == f"{what} needs a captioner with a calibrated confidence; leave it out or choose another --model"
    assert not (tree / "a.txt").exists()
    assert files() == ["models", "tree"]


def test_several_tables_hold_the_same_rows(run: Run, tree: Path) -> None:
    Path("more").mkdir()
    assert run("caption", "tree", "-o", "t.csv", "-o", "more/t.parquet")[0] == 1
    with Path("t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows if not row["error"]] == WHOLE
    assert len(rows) == len(WHOLE) + 1
    assert [row["caption"] for row in rows] == pyarrow.parquet.read_table("more/t.parquet")["caption"].to_pylist()
    assert files() == ["models", "more", "t.csv", "tree"]


def test_a_full_disk_loses_no_caption(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = caption_files.Companions.write

    def full(self: Any, companion: Any, image: Path, text: str) -> None:
        with full_disk(0 if image.name == "z.jpg" else 10_000):
            write(self, companion, image, text)

    options = ("caption", "tree", "-o", "t.csv", "--sidecar", "txt")
    with monkeypatch.context() as context:
        context.setattr(caption_files.Companions, "write", full)
        code, out, err = run(*options)
    assert (code, paths(out), err.splitlines()[-1]) == (1, WHOLE[:2], "wordgaze: File too large: tree/z.txt")
    assert sorted(path.name for path in tree.glob("*.txt")) == ["a.txt", "b.txt"]
    code, out, err = run(*options)
    assert (code, paths(out)) == (1, WHOLE[2:])
    assert "t.csv.part: continuing; 2 images are done\n" in err
    rows = csv.DictReader(Path("t.csv").read_text().splitlines())
    assert [row["path"] for row in rows if not row["error"]] == WHOLE


def test_a_sidecar_that_cannot_be_written_costs_that_picture_alone(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "er" and access(path, mode))
    (tree / "z.txt").mkdir()
    code, out, err = run("caption", "tree", "--sidecar", "txt", "--overwrite")
    assert (code, paths(out)) == (1, [WHOLE[0], WHOLE[1], WHOLE[3]])
    lines = [line for line in err.splitlines() if "broken.jpg" not in line]
    assert lines == [
        "wordgaze: tree/z.txt: cannot be written (Is a directory); check the permissions",
        "wordgaze: tree/deep/er/c.txt: cannot be written (Permission denied); check the permissions",
        "wordgaze: 3 of 6 images could not be captioned; see the errors above",
    ]


@pytest.mark.parametrize("options", [("--sidecar", "xmp"), ("--sidecar", "xmp", "--overwrite")])
def test_a_name_too_long_for_a_companion_costs_that_picture_alone(
    run: Run, tree: Path, options: tuple[str, ...]
) -> None:
    long = tree / f"{'x' * 251}.jpg"
    (tree / "z.jpg").rename(long)
    code, out, err = run("caption", "tree", *options)
    assert (code, paths(out)) == (1, [path for path in WHOLE if path != "tree/z.jpg"])
    [line] = [line for line in err.splitlines() if "xxx" in line and "captioned" not in line]
    assert "cannot be written (File name too long); shorten the name of the image" in line


@pytest.mark.parametrize(("option", "ending"), [("--embed", "jpg"), ("--attention", "png")])
def test_a_name_of_the_greatest_length_is_written(run: Run, tree: Path, option: str, ending: str) -> None:
    (tree / "z.jpg").rename(tree / f"{'x' * 251}.jpg")
    run("caption", "tree", option, "written")
    assert Path("written", f"{'x' * 251}.{ending}").is_file()


def test_an_output_that_is_no_folder_is_refused_before_any_work(refused: Refused, tree: Path) -> None:
    assert (
        refused("caption", "tree", "--embed", "tree/a.jpg") == "tree/a.jpg is a file; give --embed the name of a folder"
    )
    line = refused("caption", "tree", "-o", "t.csv", "-o", "t.xlsx")
    assert line.startswith("t.xlsx is not a valid table name")
    assert files() == ["models", "tree"]


def test_a_picture_that_vanishes_is_reported(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> Image.Image:
        (tree / "z.jpg").unlink(missing_ok=True)
        shutil.rmtree(tree / "deep", ignore_errors=True)
        return load_image(path)

    monkeypatch.setattr(caption_files, "decode_safely", load)
    code, out, err = run("caption", "tree", "-o", "t.csv")
    assert (code, paths(out)) == (1, WHOLE[:2])
    assert "wordgaze: tree/z.jpg: there is no such file; check the path" in err
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert [row["path"] for row in rows if not row["error"]] == WHOLE[:2]
    assert {"tree/broken.jpg", "tree/z.jpg"} <= {row["path"] for row in rows if row["error"]}


def test_a_caption_is_kept_although_its_picture_was_deleted_meanwhile(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> Image.Image:
        image = load_image(path)
        path.unlink()
        return image

    monkeypatch.setattr(caption_files, "decode_safely", load)
    assert run("caption", "tree", "-o", "t.csv")[0] == 1
    assert len(Path("t.csv").read_text().splitlines()) == 7  # with the broken one


def test_progress_is_plain_lines_in_a_log(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wordgaze.core import progress

    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    err = run("caption", "tree")[2]
    assert "caption: 17% of 6\n" in err
    assert "caption: 100% of 6\n" in err
    stdin(monkeypatch, b"tree")
    assert "caption: 6\n" in run("caption", "-")[2]


def test_the_name_of_a_sidecar_does_not_depend_on_what_is_done(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was interrupted behind a.jpg does not give its text to a.png."""
    shutil.copy(tree / "b.png", tree / "b.jpg")
    write = caption_files.Companions.write

    def interrupted(self: Any, companion: Any, image: Path, text: str) -> None:
        if image.name == "b.png":
            raise KeyboardInterrupt
        write(self, companion, image, text)

    options = ("caption", "tree", "--sidecar", "txt", "-o", "t.csv")
    with monkeypatch.context() as context:
        context.setattr(caption_files.Companions, "write", interrupted)
        code, first, _ = run(*options)
    assert code == 130
    _, second, _ = run(*options)
    assert (paths(first), paths(second)) == (["tree/a.jpg", "tree/b.jpg"], ["tree/b.png", *WHOLE[2:]])
    assert (tree / "b.txt").read_text().strip() == captions(first)["tree/b.jpg"]
    assert (tree / "b.png.txt").read_text().strip() == captions(second)["tree/b.png"]


@pytest.mark.slow
def test_a_run_that_is_killed_twice_has_each_row_once(captioner_folder: Path) -> None:
    """The benchmark with fewer photographs; it reads the sidecars back."""
    command = [sys.executable, str(CHECKOUT / "benchmarks/caption_folder.py"), "--images", "400", "--broken", "5"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [*command, "--model", captioner_folder], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    counts = [int(line.split()[4]) for line in lines[:2]]
    assert 131 <= counts[0] < counts[1] < 395
    assert "exit code 1" in lines[2] and "5 of " in lines[2]  # the broken ones are reported
    assert lines[3].startswith("400 photographs, 5 broken: 395 rows, 0 of them twice, 0 missing, 0 sidecars unlike")
