"""``wordgaze compare``, ``look`` and ``explain``."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.cli.conftest import Refused, Run, files
from wordgaze.generation.confidence import ConfidenceModel
from wordgaze.generation.presets import PRESETS
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CaptionerParts, save_captioner
from wordgaze.vision.encoders import Encoder


def test_compare_shows_every_strategy_with_probabilities(run: Run, captioner_folder: Path, picture: Path) -> None:
    code, out, err = run("compare", picture, "--num-return-sequences", 2, "--max-new-tokens", 4)
    assert (code, err) == (0, "")
    for name in PRESETS:
        assert f" {name} " in out
    assert re.search(r"nucleus 0\.9 .*\n.* --strategy sample .*\n.* --top-p 0\.9 ", out)  # what a variant is by
    assert re.search(r"\d\.\de-\d\d", out)


@pytest.fixture
def strange(
    captioner_folder: Path, tiny_captioner: Captioner, tiny_confidence: ConfidenceModel, tiny_encoder: Encoder
) -> Path:
    """The captioner, calibrated, and trained on flickr8k, so that it finds every picture unlike those of the training."""
    tiny_confidence.outliers[2] = -1e9
    save_captioner(
        captioner_folder, tiny_captioner.decoder, tiny_captioner.vocabulary, tiny_captioner.encoder.spec,
        tiny_encoder.state_dict(), parts=CaptionerParts(confidence=tiny_confidence), dataset="flickr8k",
    )  # fmt: skip
    return captioner_folder


def test_every_command_warns_of_an_image_unlike_those_of_the_training(run: Run, strange: Path, picture: Path) -> None:
    words = ("--words", "a dog")
    line = (
        f"warning: {picture} is unlike the images of flickr8k that {{}} was trained on; the caption and its confidence"
        " may be wrong\n"
    )
    for command in (
        ("caption", "-o", "a.csv", "-o", "a.jsonl", "-o", "a.parquet"),
        ("explain", "--json", "a.json"),
        ("explain", "--json", "b.json", *words),
        ("compare", "--max-new-tokens", 3),
    ):
        code, _, err = run(*command, picture)
        assert (code, err) == (0, line.format("the captioner"))
    assert run("look", picture, *words, "-o", "rows.png", "--model", strange)[2] == line.format(strange)
    own, given = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert own["is_outlier"] and given["is_outlier"]
    assert own["confidence"] is not None and given["confidence"] is None  # calibrated for its own captions alone
    assert json.loads(Path("a.jsonl").read_text())["is_outlier"] is True
    assert pq.read_table("a.parquet")["is_outlier"].to_pylist() == [True]
    [row] = csv.DictReader(Path("a.csv").read_text().splitlines())
    assert row["is_outlier"] == "True"


def test_compare_has_the_captioner_s_own_settings(run: Run, captioner_folder: Path, picture: Path) -> None:
    card = json.loads((captioner_folder / "captioner.json").read_text())
    card["generation"] |= {"num_beams": 2, "max_new_tokens": 2}
    (captioner_folder / "captioner.json").write_text(json.dumps(card))
    (captioner_folder / "SHA256SUMS").unlink()
    own = run("caption", picture, "--strategy", "greedy")[1].rstrip().rpartition("\t")[2]
    assert len(own.split()) == 2
    assert f" greedy  │ {own} " in re.sub(r" +│", "  │", run("compare", picture, "--num-return-sequences", 1)[1])


def test_a_word_that_one_captioner_does_not_know_is_told_with_its_name(
    refused: Refused, captioner_folder: Path, write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    other = write_captioner(tmp_path / "models" / "other")
    models = ("--model", captioner_folder, "--model", other)
    line = refused("look", picture, "--words", "a zebra", "-o", "rows.png", *models)
    assert line == f"{captioner_folder}: the captioner does not know 'zebra'; use words of its vocabulary"


def test_without_training_pictures_neighbours_are_left_out_or_refused(
    run: Run, refused: Refused, write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    folder = write_captioner(tmp_path / "alone", known=False)
    code, out, _ = run("compare", picture, "--model", folder)
    assert code == 0 and " mbr " in out and "neighbours" not in out
    for command in (("caption",), ("explain", "--gif", "film.gif")):
        line = refused(*command, picture, "--model", folder, "--strategy", "neighbours")
        assert line == "this captioner has no training images to compare with; use another strategy"


def test_neighbours_choose_in_every_command_alike(
    run: Run, write_captioner: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    agreed = set()
    for seed in range(6):
        folder = write_captioner(tmp_path / str(seed), seed)
        options = (picture, "--model", folder, "--num-beams", 12)
        [reranked, likeliest] = [run("caption", *options, "--strategy", name)[1] for name in ("neighbours", "beam")]
        assert run("explain", *options, "--strategy", "neighbours", "--png", tmp_path / "sheet.png")[1] == reranked
        agreed.add(reranked == likeliest)
    assert agreed == {True, False}  # the neighbours decide, and not always for the likeliest caption


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


def test_look_asks_for_words_and_a_picture_to_write(refused: Refused, captioner_folder: Path, picture: Path) -> None:
    assert "has no word in it; give a caption" in refused("look", picture, "--words", " .", "--output", "a.png")
    assert "give --output a name that ends with .png or .jpg" in refused(
        "look", picture, "--words", "w", "--output", "a.gif"
    )
    assert "does not know 'zebra'" in refused("look", picture, "--words", "Zebra", "--output", "a.png")


def test_a_caption_is_explained_in_a_film_a_sheet_and_numbers(run: Run, captioner_folder: Path, picture: Path) -> None:
    outputs = ("--gif", "a.gif", "--png", "a.png", "--json", "a.json")
    code, out, err = run("explain", picture, "--model", captioner_folder, *outputs, "--num-beams", 3)
    assert (code, err) == (0, "")
    name, _, text = out.strip().partition("\t")
    values = json.loads(Path("a.json").read_text())
    assert (name, text) == (str(picture), values["caption"])
    assert run("caption", picture, "--num-beams", 3)[1].strip().endswith(f"\t{text}")
    with Image.open("a.gif") as gif, Image.open("a.png") as sheet:
        assert gif.n_frames == len(values["words"]) + 2
        assert sheet.width > gif.width
    before = {name: Path(name).read_bytes() for name in ("a.gif", "a.png", "a.json")}
    run("explain", picture, *outputs, "--num-beams", 3)  # finds the same captioner by itself
    assert {name: Path(name).read_bytes() for name in before} == before
    words = json.loads((captioner_folder / "captioner.json").read_text())["vocabulary"][4:7]
    assert run("explain", picture, "--words", " ".join(words), "--json", "a.json")[0] == 0
    assert [word["text"] for word in json.loads(Path("a.json").read_text())["words"]] == words


def test_what_cannot_be_explained_is_one_line(refused: Refused, captioner_folder: Path, picture: Path) -> None:
    assert refused("explain", picture) == "there is nothing to write; give --gif, --png or --json a file name"
    assert refused("explain", picture, "--gif", "a.png").startswith(
        "a.png does not end with .gif; give --gif a file name"
    )
    assert "has no word in it; give a caption" in refused("explain", picture, "--words", "!", "--gif", "a.gif")
    line = refused("explain", picture, "--words", "a dog", "--gif", "a.gif", "--num-beams", 3)
    assert line == "--num-beams has no effect on the given --words; leave it out"
    assert "does not know 'zebra'" in refused("explain", picture, "--words", "zebra", "--gif", "a.gif")
    assert "gone.jpg: there is no such file" in refused("explain", "gone.jpg", "--gif", "a.gif")
    shutil.rmtree(captioner_folder)
    assert "models/stage2 holds no captioner" in refused(
        "explain", picture, "--gif", "a.gif", "--model", "models/stage2"
    )
    assert files() == ["models", "pictures"]
