"""An exported captioner gives the captions of the captioner it was made from, without PyTorch; what is wrong is told."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordgaze.core.errors import ImageError, ModelError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_files import FileOutputs, caption_files
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.onnx_captioner import OnnxCaptioner
from wordgaze.vision.image_files import ImageFiles

SOURCE = Path(__file__).parents[2] / "src"

GREEDY = GenerationConfig(strategy="greedy")
BEAM = GenerationConfig(num_beams=4, num_return_sequences=3, max_new_tokens=6)


def images(count: int = 4) -> list[Image.Image]:
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 256, (70 + 9 * i, 90, 3), np.uint8)) for i in range(count)]


@pytest.mark.parametrize("config", [GREEDY, BEAM])
def test_the_captions_are_those_of_the_captioner(exported: Path, config: GenerationConfig) -> None:
    expected = Captioner.load(exported / "captioner", "cpu").caption(images(), config)
    captions = OnnxCaptioner.load(exported / "onnx").caption(images(), config)
    assert [[each.words for each in of_image] for of_image in captions] == [
        [each.words for each in of_image] for of_image in expected
    ]
    for actual, wanted in zip(sum(captions, []), sum(expected, []), strict=True):
        assert actual.log_prob == pytest.approx(wanted.log_prob, abs=1e-4)
        assert actual.finish_reason == wanted.finish_reason
        assert actual.confidence is None
        np.testing.assert_allclose(actual.attention, wanted.attention, atol=1e-4)


def test_one_image_is_given_in_every_form(exported: Path, picture: Path) -> None:
    captioner = OnnxCaptioner.load(exported / "onnx")
    [caption] = captioner.caption(picture)
    forms = (str(picture), picture.read_bytes(), Image.open(picture), np.asarray(Image.open(picture).convert("RGB")))
    assert [captioner.caption(form)[0].words for form in forms] == [caption.words] * 4
    assert captioner.generation_config.strategy == "beam"
    with pytest.raises(ImageError, match="no such file"):
        captioner.caption("missing.jpg")
    with pytest.raises(ParamsError, match="an exported captioner has no strategy sample"):
        captioner.caption(picture, GenerationConfig(strategy="sample"))


def test_a_language_without_blanks_is_written_without_them(copy: Path, picture: Path) -> None:
    words = OnnxCaptioner.load(copy).caption(picture)[0].words
    chinese = dict(zip(("a", "dog", "cat", "runs", "sleeps", "outside"), "一狗猫跑睡外", strict=True))
    vocabulary = json.loads((copy / "config.json").read_text())["vocabulary"]
    change_card(copy, tokenizer="characters", vocabulary=[chinese.get(word, word) for word in vocabulary])
    caption = OnnxCaptioner.load(copy).caption(picture)[0]
    assert caption.text == "".join(chinese[word] for word in words)
    bad = GenerationConfig(bad_words=(caption.words[0],))
    assert caption.words[0] not in OnnxCaptioner.load(copy).caption(picture, bad)[0].words
    change_card(copy, tokenizer="unknown")
    with pytest.raises(ModelError, match="tokenizer 'unknown' is unknown"):
        OnnxCaptioner.load(copy)


@pytest.mark.parametrize("number", [1, 12])
def test_files_are_captioned_as_by_pytorch(exported: Path, tmp_path: Path, number: int) -> None:
    (tmp_path / "images").mkdir()
    for i, image in enumerate(images(number)):
        image.save(tmp_path / "images" / f"{i:02}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"no picture")
    results = {}
    for name in ("captioner", "onnx"):
        outputs = FileOutputs(tables=(tmp_path / f"{name}.csv",), attention=tmp_path / f"sheets of {name}")
        files = ImageFiles((tmp_path / "images",))
        results[name] = list(caption_files(files, [exported / name], BEAM, outputs))
        assert len(list((tmp_path / f"sheets of {name}").iterdir())) == number
    texts = {name: [[row.caption for row in each.rows] for each in found] for name, found in results.items()}
    assert texts["onnx"] == texts["captioner"]
    assert len([each for each in results["onnx"] if each.error]) == 1
    rows = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in ("captioner", "onnx")]
    assert len(rows[0]) == len(rows[1]) > 3 * number


def test_an_exported_captioner_is_in_no_ensemble(exported: Path, picture: Path) -> None:
    with pytest.raises(ModelError, match="is an exported captioner, which is in no ensemble"):
        list(caption_files(ImageFiles((picture,)), [exported / "captioner", exported / "onnx"], GREEDY))


WITHOUT_TORCH = """
import sys
sys.path.insert(0, sys.argv[1])
absent = ("torch", "torchvision", "timm", "onnx", "onnxscript")
sys.modules.update(dict.fromkeys(absent))  # None: an import of it raises ModuleNotFoundError
from wordgaze.cli import main
sys.argv = ["wordgaze", *sys.argv[2:]]
main()
"""


def without_torch(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT_TORCH, str(SOURCE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_the_command_line_captions_without_pytorch(exported: Path, picture: Path, tmp_path: Path) -> None:
    folder = str(exported / "onnx")
    done = without_torch("caption", str(picture), "--model", folder, "-o", "captions.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [expected] = Captioner.load(exported / "captioner", "cpu").caption(picture)
    assert done.stdout == f"{picture}\t{expected.text}\n"
    assert expected.text in (tmp_path / "captions.csv").read_text()
    refused = without_torch("caption", str(picture), "--model", folder, "--strategy", "sample", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1 and "an exported captioner has no strategy sample" in refused.stderr
    done = without_torch("conformance", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("log-probabilities within") == 6


def test_a_captioner_that_needs_pytorch_says_so_where_there_is_none(exported: Path, picture: Path) -> None:
    done = without_torch("caption", str(picture), "--model", str(exported / "captioner"), cwd=picture.parent)
    assert done.returncode == 1
    assert done.stderr == (
        "wordgaze: PyTorch is not installed, which this command needs; pip install torch, or give --model the folder of"
        " an exported captioner\n"
    )


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported / "onnx", tmp_path / "copy"))


def truncate(folder: Path) -> None:
    data = (folder / "decoder_step.onnx").read_bytes()
    (folder / "decoder_step.onnx").write_bytes(data[:-100])


def flip(folder: Path) -> None:
    data = bytearray((folder / "encoder.onnx").read_bytes())
    data[len(data) // 2] ^= 255
    (folder / "encoder.onnx").write_bytes(data)


def remove(folder: Path) -> None:
    (folder / "decoder_init.onnx").unlink()


def no_card(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def foreign_card(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def newer(folder: Path) -> None:
    change_card(folder, version=7)


def change_card(folder: Path, **values: object) -> None:
    card = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(card | values))


def put_graph(folder: Path, data: bytes) -> None:
    """A file in place of a graph, with its own checksum."""
    from wordgaze.core.files import sha256

    path = folder / "encoder.onnx"
    path.write_bytes(data)
    files = json.loads((folder / "config.json").read_text())["files"]
    change_card(folder, files=files | {"encoder.onnx": {"bytes": len(data), "sha256": sha256(path)}})


def foreign_graph(folder: Path) -> None:
    put_graph(folder, b"not a graph at all")


def other_opset(folder: Path) -> None:
    import onnx

    model = onnx.load(folder / "encoder.onnx")
    model.opset_import[0].version = 999
    put_graph(folder, model.SerializeToString())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"decoder_step\.onnx has [\d,]+ bytes, not [\d,]+; copy it again, or export the captioner again"),
        (flip, r"encoder\.onnx is not the file that was exported \(SHA-256\); copy it again"),
        (remove, r"decoder_init\.onnx is missing; export the captioner again with wordgaze export"),
        (no_card, r"config\.json is not the card of an exported captioner .*; export the captioner again"),
        (foreign_card, r"config\.json is not the card of an exported captioner .*; export the captioner again"),
        (newer, r"config\.json has version 7, and this version of wordgaze reads version 1; export"),
        (foreign_graph, r"encoder\.onnx cannot be run by ONNX Runtime [\d.]+ \(.*\); install a newer one, or export"),
        (other_opset, r"encoder\.onnx cannot be run by ONNX Runtime [\d.]+ \(.*opset.*\); install a newer one"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told(copy: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(copy)
    with pytest.raises(ModelError, match=message) as raised:
        OnnxCaptioner.load(copy)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_captioner_is_told(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(ModelError, match="holds no exported captioner"):
        OnnxCaptioner.load(tmp_path)
    with pytest.raises(ModelError, match=r"is an exported captioner; .*wordgaze\.OnnxCaptioner\.load"):
        Captioner.load(exported / "onnx")
