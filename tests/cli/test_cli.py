"""The command line: quick to start, a line a picture, and one line on stderr and exit code 1 for what is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.disk import full_disk
from tests.evaluation.reports import BEAM, evaluation_report
from wordgaze.cli import main
from wordgaze.config.recipes import RECIPES
from wordgaze.generation.presets import PRESETS

CHECKOUT = Path(__file__).parents[2]
LIGHT = """
import sys
from wordgaze.cli import app
try:
    app(["--help"], prog_name="wordgaze")
except SystemExit as stop:
    assert not stop.code
heavy = {"PIL", "dvc", "great_expectations", "mlflow", "nltk", "numpy", "pandas", "pydantic", "pyarrow", "ruamel",
         "safetensors", "timm", "torch", "torchvision"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``wordgaze`` with these arguments in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wordgaze", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """As ``run``, of what has to fail: gives the one line of stderr."""

    def refused(*arguments: object) -> str:
        code, out, err = run(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("wordgaze: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("wordgaze: ").strip()

    return refused


def here() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_help_loads_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", LIGHT],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.endswith("loaded: []\n")
    for command in (
        "download",
        "prepare",
        "features",
        "train_stage1",
        "train_stage2",
        "evaluate",
        "caption",
        "compare",
    ):
        assert f"  {command} " in shown.stdout


def test_each_picture_gets_a_line_with_its_caption(run: Run, captioner_folder: Path, picture: Path) -> None:
    shutil.copy(picture, picture.with_name("another.png"))
    (picture.parent / "notes.txt").write_text("no picture")
    code, out, err = run("caption", picture.parent, picture, "--model", captioner_folder, "--max-new-tokens", 4)
    assert (code, err) == (0, "")
    paths, captions = zip(*(line.split("\t") for line in out.splitlines()), strict=True)
    assert paths == (str(picture.with_name("another.png")), str(picture), str(picture))
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


def test_compare_shows_every_strategy_with_probabilities(run: Run, captioner_folder: Path, picture: Path) -> None:
    code, out, err = run("compare", picture, "--num-return-sequences", 2, "--max-new-tokens", 4)
    assert (code, err) == (0, "")
    for name in PRESETS:
        assert f" {name} " in out
    assert re.search(r"\d\.\de-\d\d", out)


def test_without_training_pictures_neighbours_are_left_out_or_refused(
    run: Run, refused: Callable[..., str], write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    folder = write_captioner(tmp_path / "alone", known=False)
    code, out, _ = run("compare", picture, "--model", folder)
    assert code == 0 and " consensus " in out and "neighbours" not in out
    for command in (("caption",), ("explain", "--gif", "film.gif")):
        told = refused(*command, picture, "--model", folder, "--strategy", "neighbours")
        assert told == "this captioner has no training images to compare with; use another strategy"


def test_neighbours_choose_in_every_command_alike(
    run: Run, write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    told = set()
    for seed in range(6):
        folder = write_captioner(tmp_path / str(seed), seed)
        asked = (picture, "--model", folder, "--num-beams", 12)
        [said, other] = [run("caption", *asked, "--strategy", name)[1] for name in ("neighbours", "beam")]
        assert run("explain", *asked, "--strategy", "neighbours", "--png", tmp_path / "sheet.png")[1] == said
        told.add(said == other)
    assert told == {True, False}  # they choose, and not always what is likeliest


@pytest.mark.parametrize("name", ["sheet.png", "deep/er/sheet.PNG", "sheet.jpg"])
def test_attention_is_written_as_one_picture(run: Run, captioner_folder: Path, picture: Path, name: str) -> None:
    code, out, _ = run("caption", picture, picture, "--attention", name, "--max-new-tokens", 3)
    assert code == 0
    with Image.open(name) as sheet:
        sheet.load()
        assert sheet.format == ("JPEG" if name.endswith("jpg") else "PNG")
        width, height = sheet.size
    words = len(out.splitlines()[0].split("\t")[1].split())
    assert width > (words + 1) * 224
    assert height > 2 * 149  # a sheet for each of the two pictures


def test_without_a_trained_model_the_way_out_is_told(refused: Callable[..., str], picture: Path) -> None:
    told = refused("caption", picture)
    assert (
        told == "models/stage2 holds no captioner (captioner.json is missing); run dvc repro, or give --model a folder"
    )
    assert "run `dvc repro`" in refused("register")
    assert "run `dvc repro`" in refused("promote")
    assert "run `dvc repro`" in refused("caption", picture, "--model", "models:/captioner@champion")
    assert "run dvc repro first" in refused("summary")


@pytest.mark.usefixtures("captioner_folder")
def test_pictures_that_cannot_be_used_are_named(refused: Callable[..., str], picture: Path) -> None:
    assert refused("caption", "gone.jpg") == "gone.jpg: there is no such file or folder; check the path"
    assert refused("caption", picture, "gone.jpg").startswith("gone.jpg: ")
    Path("empty").mkdir()
    assert refused("caption", "empty").startswith("empty: the folder holds no images")
    cut = picture.with_name("cut.jpg")
    Image.open(picture).resize((300, 300)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-300])
    assert refused("caption", cut).startswith(f"{cut}: is broken (")
    Path("words.png").write_text("a dog")
    assert refused("caption", "words.png").startswith("words.png: is not a JPEG, PNG")


@pytest.mark.usefixtures("captioner_folder")
def test_wrong_values_of_options_are_told(refused: Callable[..., str], run: Run, picture: Path) -> None:
    told = refused("caption", picture, "--strategy", "guess")
    assert told == "strategy: Input should be 'greedy', 'beam', 'diverse', 'sample', 'mbr' or 'neighbours', got 'guess'"
    assert refused("caption", picture, "--attention", "sheet.txt").startswith("sheet.txt is no .png or .jpg")
    for wrong in (("--num-beams", "0"), ("--num-beams", "wide"), ("--no-such-option",)):
        code, out, err = run("caption", picture, *wrong)
        assert (code, out) == (2, "")  # how typer tells of what is no command line at all
        assert wrong[0] in err
        assert "Traceback" not in err


def test_an_unknown_encoder_is_told_by_the_stage_that_needs_it(
    refused: Callable[..., str], empty_database: Path, picture: Path
) -> None:
    shutil.copy(empty_database, "mlflow.db")
    Path("data/raw/images").mkdir(parents=True)
    Path("data/raw/captions.jsonl").write_text('{"image": "a.png", "captions": ["a"], "objects": [], "split": null}\n')
    Path("params.yaml").write_text("features: {encoder: timm/efficientnet_b00}")
    told = refused("features")
    assert told.startswith("encoder 'timm/efficientnet_b00' is unknown to timm; similar names: efficientnet_b0")
    assert not Path("data/features").exists()


def test_parameters_are_checked_before_any_work(refused: Callable[..., str]) -> None:
    Path("params.yaml").write_text("features: {encodr: timm/resnet50}\nsead: 2\n")
    assert refused("download") == "params.yaml: features.encodr is not a parameter; sead is not a parameter"
    assert here() == ["params.yaml"]
    Path("params.yaml").unlink()
    assert "params.yaml is missing; run wordgaze from the root of the project" in refused("evaluate")


@pytest.mark.parametrize(("stage", "missing"), [
    ("prepare", "data/raw/captions.jsonl is missing; run dvc repro download"),
    ("features", "data/raw/captions.jsonl is missing; run dvc repro download"),
    ("train_stage1", "data/prepared/captions.parquet is missing; run dvc repro prepare"),
    ("evaluate", "data/prepared/captions.parquet is missing; run dvc repro prepare"),
])  # fmt: skip
def test_a_stage_without_its_input_names_the_stage_before(
    refused: Callable[..., str], stage: str, missing: str
) -> None:
    Path("params.yaml").write_text("seed: 1\n")
    assert refused(stage) == missing


@pytest.mark.usefixtures("captioner_folder")
def test_a_full_disk_is_one_line_and_leaves_no_half_written_sheet(run: Run, picture: Path) -> None:
    Path("sheet.png").write_bytes(b"the old one")
    with full_disk(2_000):
        code, out, err = run("caption", picture, "--attention", "sheet.png")
    assert (code, len(out.splitlines())) == (1, 1)
    assert err == "wordgaze: File too large: sheet.png\n"
    assert Path("sheet.png").read_bytes() == b"the old one"
    assert here() == ["models", "pictures", "sheet.png"]


@pytest.mark.usefixtures("captioner_folder")
def test_a_broken_picture_among_others_leaves_no_sheet(run: Run, picture: Path) -> None:
    picture.with_name("words.png").write_text("a dog")
    code, _, err = run("caption", picture.parent, "--attention", "sheet.png")
    assert code == 1
    assert "words.png: is not a JPEG" in err
    assert here() == ["models", "pictures"]


@pytest.mark.usefixtures("captioner_folder")
def test_a_place_that_cannot_be_written_is_named(run: Run, picture: Path) -> None:
    Path("taken").write_text("a file where a folder is meant")
    code, _, err = run("caption", picture, "--attention", "taken/sheet.png")
    assert (code, err.count("\n")) == (1, 1)
    assert "taken" in err
    Path("folder.png").mkdir()
    code, _, err = run("caption", picture, "--attention", "folder.png")
    assert (code, err) == (1, "wordgaze: Is a directory: folder.png\n")
    assert here() == ["folder.png", "models", "pictures", "taken"]


def test_a_file_of_captions_is_scored(run: Run, refused: Callable[..., str]) -> None:
    Path("truth.csv").write_text("image,caption\n1,a dog runs\n1,the dog runs fast\n2,a red car\n2,a car drives\n")
    Path("said.csv").write_text("image,caption\n1,a dog runs\n2,a car\n")
    code, out, err = run("score", "said.csv", "truth.csv", "--output", "report.html")
    assert (code, err) == (0, "")
    for name in ("BLEU-4", "ROUGE-L", "METEOR", "CIDEr", "95 % intervals of said"):
        assert name in out
    assert Path("report.html").stat().st_size > 1000
    Path("said.csv").write_text("image,caption\n1,a dog runs\n3,a car\n")
    assert "3" in refused("score", "said.csv", "truth.csv")
    assert "nowhere.csv" in refused("score", "nowhere.csv", "truth.csv")


def test_attention_is_measured_against_a_file_of_boxes(
    run: Run, refused: Callable[..., str], captioner_folder: Path, picture: Path
) -> None:
    name, nouns = picture.name, ("a", "dog", "cat", "sleeps", "outside")  # whatever this captioner says, it is there
    boxes = {
        "images": [{"id": 1, "file_name": name, "width": 48, "height": 32}],
        "categories": [{"id": n, "name": noun} for n, noun in enumerate(nouns)],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n, "bbox": [0, 0, 48, 32], "iscrowd": 0} for n in range(len(nouns))
        ],
    }
    Path("instances.json").write_text(json.dumps(boxes))
    code, out, err = run("ground", picture, "--boxes", "instances.json")
    assert (code, err) == (0, "")
    assert "the captioner's attention │ 1.000 [1.000, 1.000]" in out
    boxes["images"] = [{"id": 1, "file_name": "other.png", "width": 48, "height": 32}]
    Path("instances.json").write_text(json.dumps(boxes))
    assert "has no boxes of these pictures" in refused("ground", picture, "--boxes", "instances.json")


@pytest.fixture
def recipes(run: Run) -> None:  # run has changed to its folder
    shutil.copy(CHECKOUT / "params.yaml", "params.yaml")


@pytest.mark.usefixtures("recipes")
def test_recipes_are_listed_and_shown(run: Run) -> None:
    code, out, err = run("recipe", "list")
    assert (code, err) == (0, "")
    for path in RECIPES.glob("*.yaml"):
        assert f" {path.stem} " in out
    code, out, err = run("recipe", "show", "show_attend_tell_hard")
    assert (code, err) == (0, "")
    assert re.search(r"model\.hard_attention +│ false +│ true ", out)
    assert out.splitlines()[-1].startswith("dvc exp run -S dataset.name=flickr8k -S ")


@pytest.mark.usefixtures("recipes")
def test_a_recipe_is_used_scaled_down(run: Run) -> None:
    code, out, err = run("recipe", "use", "inception_coco", "--set", "train_stage1.epochs=2", "--set", "seed=7")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"params\.yaml has the settings of inception_coco; \d+ changed; next: dvc repro\n", out)
    written = Path("params.yaml").read_text()
    assert "\n  epochs: 2\n" in written
    assert "\nseed: 7                          # of everything" in written
    assert "\n  name: coco                     # scenes" in written


@pytest.mark.usefixtures("recipes")
def test_a_recipe_that_is_not_there_is_one_line(refused: Callable[..., str]) -> None:
    for command in ("show", "use"):
        assert refused("recipe", command, "b7").startswith("recipe 'b7' is unknown; similar names: b7_flickr30k")


def test_runs_with_several_seeds_have_a_mean_and_a_spread(run: Run, refused: Callable[..., str]) -> None:
    def report(name: str, cider: float, dataset: str = "scenes") -> Path:
        scores = {"beam": BEAM.model_copy(update={"cider": cider})}
        evaluation_report(dataset=dataset, scores=scores).save(Path(name))
        return Path(name)

    one, two = report("one.json", 0.5), report("two.json", 0.7)
    code, out, err = run("spread", one, two)
    assert (code, err) == (0, "")
    assert "0.600 ± 0.141" in out
    assert "0.500 ± –" in run("spread", one)[1]  # one run has no spread
    assert "other.json has another data set" in refused("spread", one, report("other.json", 0.6, "flickr8k"))
    one.write_text("[]")
    assert "one.json is not a valid EvaluationReport" in refused("spread", one)


def test_look_draws_a_row_a_captioner_for_the_same_words(run: Run, captioner_folder: Path, picture: Path) -> None:
    words = json.loads((captioner_folder / "captioner.json").read_text())["vocabulary"][4:7]
    models = ("--model", captioner_folder, "--model", captioner_folder)
    code, out, err = run("look", picture, "--words", " ".join(words), *models, "--output", "rows.png")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == second
    assert first.startswith(f"{captioner_folder}\t-")
    with Image.open("rows.png") as sheet:
        assert sheet.width > 4 * 224
        assert sheet.height > 2 * 149


def test_look_asks_for_words_and_a_picture_to_write(
    refused: Callable[..., str], captioner_folder: Path, picture: Path
) -> None:
    assert "has no word in it; give --words a caption" in refused("look", picture, "--words", " .", "--output", "a.png")
    assert "give --output a file name" in refused("look", picture, "--words", "w", "--output", "a.gif")
    assert "does not know 'zebra'" in refused("look", picture, "--words", "Zebra", "--output", "a.png")


def test_corrections_are_listed_and_exported(run: Run, refused: Callable[..., str], picture: Path) -> None:
    from wordgaze.app.corrections import Corrections

    assert run("corrections", "list") == (0, "", "")
    assert "corrections.sqlite contains no corrections" in refused("corrections", "export", "mine")
    Corrections(Path("corrections.sqlite")).add(picture.read_bytes(), "slope.png", "a dog", "a slope", "tiny", "2")
    code, out, err = run("corrections", "list")
    assert (code, err) == (0, "")
    assert out.endswith("+00:00\tslope.png\ttiny 2\ta dog\ta slope\n")
    code, out, err = run("corrections", "export", "mine")
    assert (code, err) == (0, "")
    assert out == "mine holds 1 captions; to train on them: -S dataset.name=folder -S dataset.source=mine\n"
    assert sorted(path.name for path in Path("mine").iterdir()) == ["captions.csv", "images"]
    assert "mine exists and is not empty" in refused("corrections", "export", "mine")


def test_a_folder_without_a_captioner_is_not_served(refused: Callable[..., str]) -> None:
    assert refused("serve", "--model", "nowhere", "--port", 0).startswith("nowhere does not contain a captioner")


def test_a_caption_is_explained_in_a_film_a_sheet_and_numbers(run: Run, captioner_folder: Path, picture: Path) -> None:
    outputs = ("--gif", "a.gif", "--png", "a.png", "--json", "a.json")
    code, out, err = run("explain", picture, "--model", captioner_folder, *outputs, "--num-beams", 3)
    assert (code, err) == (0, "")
    name, _, said = out.strip().partition("\t")
    story = json.loads(Path("a.json").read_text())
    assert (name, said) == (str(picture), story["caption"])
    assert run("caption", picture, "--num-beams", 3)[1].strip().endswith(f"\t{said}")
    with Image.open("a.gif") as gif, Image.open("a.png") as sheet:
        assert gif.n_frames == len(story["words"]) + 2
        assert sheet.width > gif.width
    before = {name: Path(name).read_bytes() for name in ("a.gif", "a.png", "a.json")}
    run("explain", picture, *outputs, "--num-beams", 3)  # finds the same captioner by itself
    assert {name: Path(name).read_bytes() for name in before} == before
    words = json.loads((captioner_folder / "captioner.json").read_text())["vocabulary"][4:7]
    assert run("explain", picture, "--words", " ".join(words), "--json", "a.json")[0] == 0
    assert [word["text"] for word in json.loads(Path("a.json").read_text())["words"]] == words


def test_what_cannot_be_explained_is_one_line(
    refused: Callable[..., str], captioner_folder: Path, picture: Path
) -> None:
    assert refused("explain", picture) == "there is nothing to write; give --gif, --png or --json a file name"
    assert refused("explain", picture, "--gif", "a.png").startswith("a.png is no .gif; give --gif a file name")
    assert "has no word in it; give --words a caption" in refused("explain", picture, "--words", "!", "--gif", "a.gif")
    assert "does not know 'zebra'" in refused("explain", picture, "--words", "zebra", "--gif", "a.gif")
    assert "gone.jpg: there is no such file" in refused("explain", "gone.jpg", "--gif", "a.gif")
    shutil.rmtree(captioner_folder)
    assert "run `make` or `dvc repro` here" in refused("explain", picture, "--gif", "a.gif")
    assert here() == ["models", "pictures"]
