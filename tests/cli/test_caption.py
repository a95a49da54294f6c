"""``wordgaze caption``: one line per caption, tables, sheets, and the errors of images and options."""

import csv
import fcntl
import os
import shutil
import subprocess
import sys
import termios
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import CHECKOUT, Refused, Run, files
from tests.disk import full_disk
from wordgaze.cli.options import GENERATION, RENAMED_OPTIONS
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference import caption_files
from wordgaze.vision.images import load_image


def test_each_picture_gets_a_line_with_its_caption(run: Run, captioner_folder: Path, picture: Path) -> None:
    shutil.copy(picture, picture.with_name("another.png"))
    (picture.parent / "notes.txt").write_text("no picture")
    code, out, err = run("caption", picture.parent, picture, "--model", captioner_folder, "--max-new-tokens", 4)
    assert (code, err) == (0, "")
    paths, captions = zip(*(line.split("\t") for line in out.splitlines()), strict=True)
    assert paths == (str(picture.with_name("another.png")), str(picture))  # each once, also if it is named twice
    assert len(set(captions)) == 1
    assert 1 <= len(captions[0].split()) <= 4


def test_captions_are_written_as_a_table(run: Run, captioner_folder: Path, picture: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    code, out, err = run("caption", picture, "--num-return-sequences", 2, "--output", table)
    assert (code, err) == (0, "")
    lines = table.read_text("utf-8").splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [picture.name, line.split("\t")[1]] for line in out.splitlines()
    ]
    assert run("caption", picture, "--output", "captions.xlsx")[0] != 0


def test_the_model_of_the_pipeline_is_the_default(run: Run, captioner_folder: Path, picture: Path) -> None:
    assert run("caption", picture) == run("caption", picture, "--model", captioner_folder)


def test_several_captions_of_any_strategy(run: Run, captioner_folder: Path, picture: Path) -> None:
    for strategy in ("beam", "diverse", "sample", "mbr"):
        code, out, err = run(
            "caption",
            picture,
            "--strategy",
            strategy,
            "--num-return-sequences",
            3,
            "--max-new-tokens",
            6,
            "--min-new-tokens",
            2,
        )
        assert (code, err) == (0, "")
        captions = [line.split("\t")[1] for line in out.splitlines()]
        assert len(captions) == 3
        assert all(2 <= len(caption.split()) <= 6 for caption in captions)


def test_words_are_required_and_banned(run: Run, captioner_folder: Path, picture: Path) -> None:
    _, out, _ = run(
        "caption",
        picture,
        "--max-new-tokens",
        6,
        "--force-words",
        "cat",
        "--force-words",
        "sleeps|runs",
        "--bad-words",
        "dog",
    )
    words = out.split("\t")[1].split()
    assert "cat" in words
    assert {"sleeps", "runs"} & set(words)
    assert "dog" not in words


def test_samples_come_again_from_their_seed(run: Run, captioner_folder: Path, picture: Path) -> None:
    shutil.copy(picture, picture.with_name("another.png"))
    sample = ("--strategy", "sample", "--num-return-sequences", 5, "--max-new-tokens", 6)
    once = run("caption", picture, *sample, "--seed", 3)
    assert run("caption", picture, *sample, "--seed", 3) == once
    assert run("caption", picture, *sample, "--seed", 4) != once
    in_a_batch = run("caption", picture.parent, *sample, "--seed", 3)[1].splitlines()
    assert [line for line in in_a_batch if line.startswith(str(picture))] == once[1].splitlines()


def test_two_captioners_caption_as_one(
    run: Run, captioner_folder: Path, write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    other = write_captioner(tmp_path / "other", seed=2)
    both = run("caption", picture, "--model", captioner_folder, "--model", other, "--num-return-sequences", 5)
    assert (both[0], both[2]) == (0, "")
    assert both != run("caption", picture, "--model", captioner_folder, "--num-return-sequences", 5)
    twice = run(
        "caption", picture, "--model", captioner_folder, "--model", captioner_folder, "--num-return-sequences", 5
    )
    assert twice == run("caption", picture, "--model", captioner_folder, "--num-return-sequences", 5)


@pytest.mark.parametrize("name", ["sheet.png", "sheet.PNG", "sheet.jpg"])
def test_attention_of_one_picture_is_a_file(run: Run, captioner_folder: Path, picture: Path, name: str) -> None:
    code, out, _ = run("caption", picture, "--attention", name, "--max-new-tokens", 3)
    assert code == 0
    with Image.open(name) as sheet:
        sheet.load()
        assert sheet.format == ("JPEG" if name.endswith("jpg") else "PNG")
        assert sheet.width > (len(out.split("\t")[1].split()) + 1) * 224


def test_attention_of_several_pictures_is_a_folder(
    run: Run, refused: Refused, captioner_folder: Path, picture: Path
) -> None:
    Image.new("RGB", (40, 30), "red").save(picture.with_name("red.jpg"))
    assert run("caption", picture.parent, "--attention", "sheets/")[0] == 0
    assert sorted(path.name for path in Path("sheets").iterdir()) == ["red.png", "slope.png"]
    shutil.copy(picture, picture.with_name("red.png"))
    shutil.copytree(picture.parent, "pictures/more")
    code, _, err = run("caption", "pictures", "--attention", "other")
    assert (code, err) == (0, "warning: other/red.png belongs to another image; other/red-2.png is used\n"
        "warning: other/more/red.png belongs to another image; other/more/red-2.png is used\n")  # fmt: skip
    assert sorted(str(path) for path in Path("other").rglob("*.png")) == [
        f"other/{name}.png" for name in ("more/red-2", "more/red", "more/slope", "red-2", "red", "slope")
    ]
    shutil.rmtree("pictures/more")
    picture.with_name("red.png").unlink()
    line = refused("caption", picture.parent, "--attention", "sheet.png")
    assert line == "sheet.png is one file, and there are 2 pictures; give --attention the name of a folder"
    Path("folder.png").mkdir()
    assert run("caption", picture, "--attention", "folder.png")[0] == 0
    assert [path.name for path in Path("folder.png").iterdir()] == ["slope.png"]


@pytest.mark.usefixtures("captioner_folder")
def test_pictures_that_cannot_be_used_are_named(refused: Refused, run: Run, picture: Path) -> None:
    assert refused("caption", "gone.jpg") == "gone.jpg: there is no such file or folder; check the path"
    assert refused("caption", picture, "gone.jpg").startswith("gone.jpg: ")
    Path("empty").mkdir()
    assert refused("caption", "empty").startswith("empty: the folder holds no images")
    cut = picture.with_name("cut.jpg")
    Image.open(picture).resize((300, 300)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-300])
    Path("words.png").write_text("a dog")
    code, out, err = run("caption", cut, "words.png")
    assert (code, out) == (1, "")
    first, second, last = err.splitlines()
    assert first.startswith(f"wordgaze: {cut}: is broken (")
    assert second.startswith("wordgaze: words.png: is no")
    assert last == "wordgaze: 2 of 2 images could not be captioned; see the errors above"


@pytest.mark.usefixtures("captioner_folder")
def test_wrong_values_of_options_are_refused(refused: Refused, run: Run, picture: Path) -> None:
    line = refused("caption", picture, "--strategy", "guess")
    assert line == "strategy must be greedy, beam, diverse, sample, mbr or neighbours, not 'guess'"
    assert refused("caption", picture, "--num-beams", "0") == "num_beams must be at least 1, not 0"
    assert refused("caption", picture, "--attention", "sheet.txt").startswith("sheet.txt is not a valid picture name")
    assert refused("caption", picture, "--output", "t.xlsx").startswith("t.xlsx is not a valid table name")
    for wrong in (("--num-beams", "wide"), ("--no-such-option",)):
        code, out, err = run("caption", picture, *wrong)
        assert (code, out) == (2, "")  # typer's exit code for an invalid command line
        assert wrong[0] in err
        assert "Traceback" not in err


@pytest.mark.usefixtures("captioner_folder")
def test_an_option_that_the_strategy_does_not_use_is_refused(refused: Refused, run: Run, picture: Path) -> None:
    line = refused("caption", picture, "--temperature", 0.5)
    assert line == "--temperature has no effect with strategy beam; use it with sample or mbr"
    line = refused("explain", picture, "--gif", "a.gif", "--strategy", "greedy", "--num-beams", 3)
    assert line == "--num-beams has no effect with strategy greedy; use it with beam, diverse, mbr or neighbours"
    assert run("caption", picture, "--temperature", 0.5, "--strategy", "sample")[0] == 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--overwrite",), "--overwrite has no effect without --sidecar or --embed; add it, or leave --overwrite out"),
        (("--no-resume",), "--no-resume has no effect without --output; add it, or leave --no-resume out"),
        (("--seed", 0), "--seed has no effect with strategy beam; use it with sample or mbr"),
        (
            ("--explain-naming",),
            "--explain-naming has no effect without --name-objects; add it, or leave --explain-naming out",
        ),
        (("--naming-threshold", 0.3), "--naming-threshold has no effect on captions without names; add --name-objects"),
    ],
)
def test_an_option_without_effect_is_refused(
    refused: Refused, captioner_folder: Path, picture: Path, options: tuple[object, ...], line: str
) -> None:
    assert refused("caption", picture, *options) == line


def test_an_address_is_not_downloaded(refused: Refused, captioner_folder: Path) -> None:
    way_out = "wordgaze downloads no images; save it as a file first"
    for command in (("caption",), ("explain", "--json", "a.json"), ("compare",), ("watch",)):
        assert refused(*command, "https://example.org/a.jpg").endswith(way_out)


@pytest.mark.parametrize(("old", "new"), list(RENAMED_OPTIONS.items()))
@pytest.mark.parametrize("command", ["caption", "compare", "explain", "ground"])
def test_a_renamed_option_is_refused_with_its_new_name(refused: Refused, command: str, old: str, new: str) -> None:
    line = f"{old} is renamed to {new}"
    assert refused(command, "photo.jpg", old, "3") == refused(command, f"{old}=3", "photo.jpg") == line
    assert new.removeprefix("--").replace("-", "_") in GENERATION


def test_every_generation_setting_is_an_option_that_by_default_is_the_captioner_s_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert set(GENERATION) == set(GenerationConfig.model_fields)
    _, _, panel = run("caption", "--help")[1].partition("Generation, by default the captioner's own settings")
    assert [name for name in GENERATION if f"--{name.replace('_', '-')} " not in panel] == []
    assert "[default" not in panel


@pytest.mark.usefixtures("captioner_folder")
def test_a_full_disk_is_one_line_and_leaves_no_half_written_sheet(run: Run, picture: Path) -> None:
    Path("sheet.png").write_bytes(b"the old one")
    with full_disk(2_000):
        code, out, err = run("caption", picture, "--attention", "sheet.png")
    assert (code, out, err) == (1, "", "wordgaze: File too large: sheet.png\n")
    assert Path("sheet.png").read_bytes() == b"the old one"
    assert files() == ["models", "pictures", "sheet.png"]


@pytest.mark.usefixtures("captioner_folder")
def test_a_full_disk_names_the_unfinished_table(run: Run, picture: Path) -> None:
    with full_disk(100):
        code, out, err = run("caption", picture, "--output", "t.csv")
    assert (code, out, err) == (1, "", "wordgaze: File too large: t.csv.part\n")
    assert run("caption", picture, "--output", "t.csv")[0] == 0
    assert files() == ["models", "pictures", "t.csv"]


@pytest.mark.usefixtures("captioner_folder")
def test_a_place_that_cannot_be_written_is_named(run: Run, picture: Path) -> None:
    Path("taken").write_text("a file where a folder is meant")
    code, _, err = run("caption", picture, "--output", "taken/t.csv")
    assert (code, err.count("\n")) == (1, 1)
    assert "taken" in err
    # Outputs are checked before the work.
    assert run("caption", picture, "--attention", "taken/sheet.png") == (
        1, "", "wordgaze: Not a directory: taken/sheet.png\n"
    )  # fmt: skip
    for option, name in (
        ("--attention", "typo/sheet.png"),
        ("--attention", "typo/sheets"),
        ("--embed", "typo/copies"),
        ("--output", "typo/er/t.csv"),
    ):
        code, out, err = run("caption", picture, option, name)
        folder = str(Path(name).parent)
        assert (code, out) == (1, "")
        assert err == f"wordgaze: {name}: there is no folder {folder}; make it, or give {option} another name\n"
    Path("folder.csv").mkdir()
    assert run("caption", picture, "--output", "folder.csv") == (1, "", "wordgaze: Is a directory: folder.csv\n")
    assert files() == ["folder.csv", "models", "pictures", "taken"]


@pytest.fixture
def album(captioner_folder: Path, picture: Path) -> Path:
    """A folder of 60 different pictures; the one in the middle is broken."""
    picture.unlink()
    for n in range(60):
        Image.linear_gradient("L").rotate(6 * n).resize((24, 16)).save(picture.with_name(f"{n:02}.png"))
    picture.with_name("30.png").write_text("a dog")
    return picture.parent


def test_a_broken_picture_is_reported_and_the_others_are_captioned(run: Run, album: Path) -> None:
    code, out, err = run("caption", album, "--output", "t.csv", "--attention", "sheets", "--max-new-tokens", 3)
    assert code == 1
    print("ERR", repr(err))
    reported, last = err.splitlines()
    assert reported.startswith(f"wordgaze: {album / '30.png'}: is no")
    assert last == "wordgaze: 1 of 60 images could not be captioned; see the errors above"
    captioned = [f"{n:02}" for n in range(60) if n != 30]
    assert [Path(line.split("\t")[0]).stem for line in out.splitlines()] == captioned
    rows = {row[0]: (row[1], row[6]) for row in table()}
    assert [*rows] == [f"{n:02}.png" for n in range(60)]
    assert [Path(name).stem for name, (caption, error) in rows.items() if caption and not error] == captioned
    assert rows["30.png"] == ("", reported.removeprefix("wordgaze: "))
    assert sorted(path.stem for path in Path("sheets").iterdir()) == captioned
    assert files() == ["models", "pictures", "sheets", "t.csv"]


def test_a_killed_run_is_continued(run: Run, album: Path) -> None:
    options = ("caption", str(album), "--output", "t.csv", "--num-return-sequences", "2", "--max-new-tokens", "3")
    run(*options)
    whole = table()
    Path("t.csv").unlink()

    kill_in_the_middle(options)
    lines = Path("t.csv.part").read_bytes().splitlines()[1:]
    done = sum(b'"image": null' not in line for line in lines)
    assert 0 < done < 59
    assert not Path("t.csv").exists()
    with Path("t.csv.part").open("ab") as file:
        file.write(b'{"image": "a line that was being wri')
    code, out, err = run(*options)
    assert code == 1
    assert f"t.csv.part: continuing; {done} images are done" in err
    assert len(out.splitlines()) == 2 * (59 - done)
    resumed = table()
    assert [row[:2] for row in resumed] == [row[:2] for row in whole]
    assert len(resumed) == 2 * 59 + 1  # one row for the broken picture
    for row, other in zip(resumed, whole, strict=True):  # batches of other images differ in the last digits
        if row[6]:
            continue
        assert [float(x) for x in row[2:4]] == pytest.approx([float(x) for x in other[2:4]], rel=1e-4)
    assert files() == ["models", "pictures", "t.csv"]


def table() -> list[list[str]]:
    with Path("t.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def kill_in_the_middle(options: tuple[str, ...]) -> None:
    """Starts a process that captions, and kills it while it waits for its output to be read."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", "wordgaze", *options], stdout=write, stderr=write, env=environment
    )
    try:
        os.close(write)
        capacity, end = 4000, time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None and filled(read) < capacity:
            time.sleep(0.05)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        os.close(read)


def filled(read: int) -> int:
    """The bytes that wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(read, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_run_with_other_settings_or_changed_pictures_does_not_reuse_captions(
    run: Run, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*options: object) -> None:
        opened = iter(range(20))

        def load(path: Path) -> Image.Image:
            if next(opened, None) is None:
                raise KeyboardInterrupt
            return load_image(path)

        with monkeypatch.context() as context:
            context.setattr(caption_files, "decode_safely", load)
            code = run("caption", album, "--output", "t.csv", *options)[0]
        assert code == 130
        assert Path("t.csv.part").is_file()

    def resumed(*options: object) -> int:
        return len(run("caption", album, "--output", "t.csv", *options)[1].splitlines())

    interrupt()
    assert resumed() == 59 - 16  # one batch was done
    interrupt()
    assert resumed("--num-beams", 2) == 59
    interrupt()
    assert resumed("--no-resume") == 59
    interrupt()
    Image.new("RGB", (9, 9), "red").save(album / "00.png")
    assert resumed() == 59 - 15


def test_pictures_are_held_one_batch_at_a_time(run: Run, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Image.Image]] = []
    most = 0

    def load(path: Path) -> Image.Image:
        nonlocal most
        image = load_image(path)
        alive[:] = [other for other in alive if other() is not None]
        alive.append(weakref.ref(image))
        most = max(most, len(alive))
        return image

    monkeypatch.setattr(caption_files, "decode_safely", load)
    run("caption", album, "--output", "t.csv", "--attention", "sheets", "--max-new-tokens", 2)
    assert 16 <= most <= 2 * 16  # the last batch is held until the next one is complete


def test_no_output_replaces_an_image_that_is_read(refused: Refused, captioner_folder: Path, picture: Path) -> None:
    before = picture.read_bytes()
    words = ("--words", "a dog")
    for arguments in (
        ("caption", picture, "--attention", picture),
        ("explain", picture, *words, "--png", picture),
        ("look", picture, *words, "--output", picture),
    ):
        assert refused(*arguments) == f"{picture} would be overwritten; choose another name for the output"
    for option in ("--attention", "--embed"):
        line = refused("caption", picture.parent, option, picture.parent)
        assert line == f"{picture.parent} is the folder of the images; give {option} another one"
    assert picture.read_bytes() == before


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_case_file_name_not_utf8_does_not_cost_the_table(
    run: Run, captioner_folder: Path, picture: Path, ending: str
) -> None:
    picture.rename(os.fsdecode(os.fsencode(picture.parent) + b"/caf\xe9.png"))
    assert run("caption", picture.parent, "--output", f"captions.{ending}")[0] == 0
    printed = "caf\\\\xe9.png" if ending == "jsonl" else "caf\\xe9.png"
    assert printed in Path(f"captions.{ending}").read_text("utf-8")
