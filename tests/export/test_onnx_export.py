"""``wordgaze export`` and ``wordgaze conformance``, as a person uses them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Refused, Run
from wordgaze.core.errors import DataError, ModelError
from wordgaze.export.onnx_export import ExportSettings, export_onnx
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.exported_folder import read_exported_card
from wordgaze.inference.onnx_captioner import OnnxCaptioner

pytest.importorskip("onnxscript", reason='the extra "export" is not installed')
pytest.importorskip("onnxruntime", reason='the extra "export" is not installed')


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        small.resize((96, 72)).save(folder / f"image{number}.jpg")
    return folder


def test_a_captioner_is_exported_and_captions(run: Run, captioner_folder: Path, picture: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 2)
    code, out, err = run("export", captioner_folder, "small", "--dtype", "int8", "--images", images)
    assert code == 0, err
    assert err == "an exported captioner has no strategy neighbours: its captions are those of beam search\n" * (
        Captioner.load(captioner_folder, "cpu").generation_config.strategy == "neighbours"
    )
    size = sum(path.stat().st_size for path in Path("small").glob("*.onnx"))
    assert out == f"small\t{size / 1e6:.1f} MB\n"
    names = ["config.json", "conformance", "decoder_init.onnx", "decoder_step.onnx", "encoder.onnx"]
    assert sorted(path.name for path in Path("small").iterdir()) == names
    code, out, err = run("caption", picture, "--model", "small", "--strategy", "greedy")
    [expected] = OnnxCaptioner.load("small").caption(picture, GenerationConfig(strategy="greedy"))
    assert (code, out) == (0, f"{picture}\t{expected.text}\n")


def test_an_existing_folder_is_replaced_only_if_asked(
    run: Run, refused: Refused, captioner_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "letter.txt").write_text("dear")
    message = refused("export", captioner_folder, "notes", "--overwrite")
    assert message == "notes exists and was not exported by wordgaze; give the name of a new folder"
    images = write_images(tmp_path / "images", 1)
    assert run("export", captioner_folder, "out", "--images", images)[0] == 0
    before = {path.name: path.read_bytes() for path in Path("out").glob("*.*")}
    message = refused("export", captioner_folder, "out", "--images", images)
    assert message == "out exists; give --overwrite to replace it, or the name of a new folder"
    assert run("export", captioner_folder, "out", "--images", images, "--overwrite")[0] == 0
    assert {path.name: path.read_bytes() for path in Path("out").glob("*.*")} == before  # and the same bytes again
    assert not list(tmp_path.glob(".out*"))


def test_what_cannot_be_exported_is_one_line(refused: Refused, captioner_folder: Path, tmp_path: Path) -> None:
    assert "nowhere holds no captioner" in refused("export", "nowhere", "out")
    images = write_images(tmp_path / "images", 1)
    message = refused("export", captioner_folder, "out", "--calibrate", images, "--images", images)
    assert message == "an encoder is calibrated for 8 bits, and the dtype is fp32; give --dtype int8"
    card = json.loads((captioner_folder / "captioner.json").read_text())
    card["encoder"]["interpolation"] = "nearest"
    (captioner_folder / "captioner.json").write_text(json.dumps(card))
    (captioner_folder / "SHA256SUMS").unlink()
    message = refused("export", captioner_folder, "out", "--images", images)
    assert "resizes by nearest, which cannot be exported; one of bilinear, bicubic, lanczos can" in message
    assert not Path("out").exists()


def test_an_encoder_is_calibrated_on_a_folder(captioner_folder: Path, tmp_path: Path) -> None:
    images = sorted(write_images(tmp_path / "images", 4).iterdir())
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    export_onnx(captioner_folder, tmp_path / "out", ExportSettings("int8", [tmp_path / "broken.jpg", *images]))
    captioner = OnnxCaptioner.load(tmp_path / "out")
    assert captioner.card.calibrated
    opened = [Image.open(path) for path in images]
    expected = Captioner.load(captioner_folder, "cpu").features(opened).numpy()
    deviation = np.abs(captioner.features(opened) - expected).mean() / np.abs(expected).mean()
    assert deviation < 0.1
    with pytest.raises(DataError, match=r"none of the 1 images for the calibration can be opened; give other ones"):
        export_onnx(captioner_folder, tmp_path / "other", ExportSettings("int8", [tmp_path / "broken.jpg"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jpg", "images", "models", "out"]


def test_the_defaults_are_those_of_the_captioner_without_what_needs_pytorch(exported: Path) -> None:
    card = read_exported_card(exported / "onnx")
    assert (card.generation.strategy, card.generation.name_objects) == ("beam", False)
    assert card.vocabulary == Captioner.load(exported / "captioner", "cpu").vocabulary.words
    with pytest.raises(ModelError, match="exists; give --overwrite"):
        export_onnx(exported / "captioner", exported / "onnx", ExportSettings())


def test_the_conformance_set_tells_what_differs_by_image(run: Run, exported: Path, tmp_path: Path) -> None:
    code, out, _ = run("conformance", exported / "onnx", "--runner", "torch", "--model", exported / "captioner")
    assert (code, out.count("log-probabilities within 0.0e+00")) == (0, 6)
    code, out, _ = run("conformance", exported / "onnx")
    assert (code, len(out.splitlines())) == (0, 6)
    copy = Path(shutil.copytree(exported / "onnx", tmp_path / "copy"))
    path = copy / "conformance" / "conformance.json"
    wanted = json.loads(path.read_text())
    caption = wanted["images"][1]["captions"]["greedy"]
    expected = " ".join(caption["words"])
    caption["words"] = ["cat", *caption["words"]]
    wanted["images"][2]["captions"]["beam"]["log_prob"] += 0.01
    path.write_text(json.dumps(wanted))
    code, out, err = run("conformance", copy)
    assert code == 1
    assert err == "wordgaze: captions that differ from those of the export: 2 of 6; see the lines above\n"
    assert f"image1.png\tgreedy\t{expected}\texpected: cat {expected}\n" in out
    path.write_text("{}")
    assert "is not a conformance set" in run("conformance", copy)[2]
    path.unlink()
    assert "conformance.json is missing; export the captioner again" in run("conformance", copy)[2]
