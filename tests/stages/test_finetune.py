"""Stage ``finetune``: what it leaves for the stage ``features``, and where the encoder comes from."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from wordgaze.config.params import Params
from wordgaze.core import paths
from wordgaze.core.errors import DataError, ModelError
from wordgaze.data.prepared import Prepared
from wordgaze.inference.captioner_folder import save_captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.stages import features, finetune
from wordgaze.text.vocabulary import SPECIAL, Vocabulary
from wordgaze.vision.encoders import Encoder, build_encoder

VOCABULARY = Vocabulary((*SPECIAL, "a", "red", "green"))
SETTINGS: dict[str, Any] = {
    "features": {"encoder": "timm/test_efficientnet", "weights": "random", "image_size": 64, "device": "cpu"},
    "model": {"embedding_size": 8, "hidden_size": 8, "attention_size": 8, "feature_size": 8},
    "finetune": {"blocks": 1, "epochs": 2, "batch_size": 2, "learning_rate": 0.01, "device": "cpu"},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with six images in two colours; runs are not tracked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    captions: dict[str, Any] = {"train": {}, "dev": {}, "test": {}}
    (paths.RAW / "images").mkdir(parents=True)
    for i in range(6):
        colour = ("red", "green")[i % 2]
        Image.new("RGB", (40, 30), colour).save(paths.RAW / "images" / f"{i}.png")
        captions["train" if i < 4 else "dev"][f"{i}.png"] = [["a", colour]]

    @contextlib.contextmanager
    def untracked(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(metrics=lambda *_, **__: None, tag=lambda *_: None)

    monkeypatch.setattr(finetune, "stage_run", untracked)
    monkeypatch.setattr(finetune, "log_splits", lambda *_: None)
    monkeypatch.setattr(Prepared, "load", lambda _: Prepared(captions, {}, VOCABULARY))
    return tmp_path


def params(**finetuning: object) -> Params:
    return Params.model_validate({**SETTINGS, "finetune": {**SETTINGS["finetune"], **finetuning}})


def encoder() -> Encoder:
    return build_encoder("timm/test_efficientnet", "random", 64)


def test_without_blocks_there_are_no_weights_and_the_file_is_always_the_same() -> None:
    finetune.run(params(blocks=0))
    before = {path.name: path.read_bytes() for path in paths.FINETUNED_ENCODER.iterdir()}
    assert set(before) == {"encoder.json", "SHA256SUMS"}
    finetune.run(params(blocks=0, epochs=7))
    assert {path.name: path.read_bytes() for path in paths.FINETUNED_ENCODER.iterdir()} == before


def test_the_features_are_those_of_the_trained_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordgaze.training.finetune.DevScore.__call__", lambda *_, **__: next(scores))
    scores = iter([0.1, 0.2])
    finetune.run(params())
    tuned = load_file(paths.FINETUNED_ENCODER / "encoder.safetensors")
    card = json.loads((paths.FINETUNED_ENCODER / "encoder.json").read_text())
    assert card == {"blocks": 1, "dev_cider": 0.2, "epochs": 2}
    changed = [name for name, tensor in encoder().state_dict().items() if not torch.equal(tensor, tuned[name])]
    assert changed and all(name.startswith(("bodies.0.conv_head", "bodies.0.bn2")) for name in changed)
    work = features._Work(params(), [])
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in work.encoder.state_dict().items())
    assert work.is_finetuned and work.how[1] != features._Work(params(blocks=0), []).how[1]
    assert not list(Path(".scratch").glob("training-*"))


def test_a_training_that_continues_a_captioner_takes_its_encoder_over() -> None:
    own = {name: tensor + 1 for name, tensor in encoder().state_dict().items()}
    model = DecoderConfig.model_validate(SETTINGS["model"])
    decoder = Decoder(model, encoder().spec.channels, len(VOCABULARY))
    save_captioner(Path("models/initial/0123"), decoder, VOCABULARY, encoder().spec, own)
    values = {**SETTINGS, "train_stage1": {"initial": {"captioner": "models/initial/0123"}}}
    finetune.run(Params.model_validate(values))
    work = features._Work(Params.model_validate(values), [])
    assert all(torch.equal(tensor, own[name]) for name, tensor in work.encoder.state_dict().items())


def test_a_captioner_with_another_encoder_is_refused_before_anything_is_written() -> None:
    decoder = Decoder(DecoderConfig.model_validate(SETTINGS["model"]), encoder().spec.channels, len(VOCABULARY))
    save_captioner(Path("models/initial/0123"), decoder, VOCABULARY, encoder().spec, encoder().state_dict())
    values = {**SETTINGS, "train_stage1": {"initial": {"captioner": "models/initial/0123"}}}
    values["features"] = {**SETTINGS["features"], "grid": 4}
    with pytest.raises(
        ModelError, match=r"has the encoder .* 2 × 2 cells.* those of .* 4 × 4 cells.*; set the section"
    ):
        finetune.run(Params.model_validate(values))
    assert not paths.FINETUNED_ENCODER.exists()


def test_an_experiment_that_waited_for_the_same_training_takes_its_result(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def followed(stage: str, epochs: int, run: object, training: Any) -> Any:
        return training(lambda _: None, lambda done, _: steps.append(done))

    monkeypatch.setattr(finetune, "followed", followed)
    with monkeypatch.context() as patched:
        patched.setattr("wordgaze.core.scratch._waiting", lambda *_: True)
        finetune.run(params())
    weights = paths.FINETUNED_ENCODER / "encoder.safetensors"
    trained, first = len(steps), weights.read_bytes()
    assert trained and list(Path(".scratch").glob("training-*"))
    weights.unlink()
    finetune.run(params())
    assert (len(steps), weights.read_bytes()) == (trained, first)
    assert not list(Path(".scratch").glob("training-*"))


def test_a_captioner_that_is_missing_is_one_line() -> None:
    values = {**SETTINGS, "train_stage1": {"initial": {"captioner": "models/initial/0123"}}}
    with pytest.raises(ModelError, match=r"models/initial/0123 holds no captioner") as caught:
        finetune.run(Params.model_validate(values))
    assert "\n" not in str(caught.value)


def test_features_without_the_weights_say_which_stage_to_run() -> None:
    with pytest.raises(DataError, match=r"encoder.safetensors is missing; run dvc repro -f -s finetune"):
        features._Work(params(), [])
