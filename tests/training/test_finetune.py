"""Fine-tuning of an encoder: which weights change, when, and to the same bytes again."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.coloured import SIZES, WORDS, small_encoder, write_coloured
from wordgaze.config.params import FinetuneParams, TrainParams
from wordgaze.core.errors import ModelError
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL
from wordgaze.training.batches import Batch
from wordgaze.training.finetune import FinetuneTask, finetune
from wordgaze.training.train_step import Objective, TrainStep
from wordgaze.training.trainer import EpochMetrics
from wordgaze.vision.encoders import build_encoder

SETTINGS: dict[str, Any] = {
    "blocks": 2, "epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "decoder_learning_rate": 1e-2, "device": "cpu",
    "checkpoint_seconds": 0.0,
}  # fmt: skip


@pytest.fixture
def task(tmp_path: Path) -> FinetuneTask:
    prepared = write_coloured(tmp_path / "images")
    settings = FinetuneParams.model_validate(SETTINGS)
    return FinetuneTask(prepared, tmp_path / "images", small_encoder(), SIZES, settings, 6, 1)


class Killed(Exception):
    pass


def trained(
    task: FinetuneTask, scratch: Path, stop: int = 0, **more: Any
) -> tuple[list[EpochMetrics], dict[str, torch.Tensor]]:
    """The curve and the weights; the training is killed after ``stop`` steps."""
    task = replace(task, encoder=small_encoder(), settings=FinetuneParams.model_validate({**SETTINGS, **more}))

    def on_step(done: int, _: int) -> None:
        if done == stop:
            raise Killed

    curve = finetune(task, scratch, lambda _: None, on_step)
    return curve, task.encoder.state_dict()


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last epoch is the best one."""
    scores = count()
    monkeypatch.setattr("wordgaze.training.finetune.DevScore.__call__", lambda *_, **__: float(next(scores)))


@pytest.mark.usefixtures("rising")
def test_the_last_blocks_are_trained_and_no_others(task: FinetuneTask, tmp_path: Path) -> None:
    curve, weights = trained(task, tmp_path)
    before = task.encoder.state_dict()
    task.encoder.unfreeze(2)
    wanted = {name for name, parameter in task.encoder.named_parameters() if parameter.requires_grad}
    assert {name for name, tensor in before.items() if not torch.equal(weights[name], tensor)} == wanted != set()
    assert len(curve) == 3


def test_the_encoder_of_the_best_epoch_is_kept(
    task: FinetuneTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first epoch, in which the decoder is trained alone, it is as it was."""
    scores = iter([0.9, 0.1, 0.2])
    monkeypatch.setattr("wordgaze.training.finetune.DevScore.__call__", lambda *_, **__: next(scores))
    _, weights = trained(task, tmp_path)
    assert all(torch.equal(weights[name], tensor) for name, tensor in task.encoder.state_dict().items())


def test_the_gradient_of_the_encoder_lowers_the_loss() -> None:
    encoder = small_encoder()
    plain = SIZES.model_copy(update={f"dropout_{name}": 0.0 for name in ("embedding", "features", "output")})
    blocks = encoder.unfreeze(2)
    decoder = Decoder(plain, encoder.spec.channels, len(SPECIAL) + len(WORDS))
    step = TrainStep(decoder, encoder, TrainParams(), Objective(), torch.float32)
    pixels = torch.randint(256, (3, 3, 64, 64)).to(torch.uint8)
    batch = Batch(pixels, torch.tensor([[[4, 5, END]], [[6, END, PAD]], [[7, 8, END]]]), ("a", "b", "c"))
    before = float(step(batch).loss)
    gradients = [parameter.grad for parameter in blocks if parameter.grad is not None]
    assert len(gradients) == len(blocks)
    length = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
    with torch.no_grad():
        for parameter, gradient in zip(blocks, gradients, strict=True):
            parameter.sub_(1e-2 / length * gradient)
    assert float(step(batch).loss) - before == pytest.approx(-1e-2 * length, rel=0.2)
    step.trains_encoder = False
    step(batch)
    assert all(parameter.grad is None for parameter in blocks)


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_killed_and_started_again_it_gives_the_same_bytes(task: FinetuneTask, tmp_path: Path, stop: int) -> None:
    whole = trained(task, tmp_path / "whole")
    with pytest.raises(Killed):
        trained(task, tmp_path / "twice", stop)
    curve, weights = trained(task, tmp_path / "twice")
    assert curve == whole[0]
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole[1].items())


@pytest.mark.parametrize(
    "model",
    [
        {"hard_attention": True},
        {"word_vectors": "glove.txt", "freeze_word_vectors": True},
        {"sentinel": True, "gate": False, "attention_position": "last"},
        {"span": "local_p", "window": 1},
        {"cell": "gru", "attention_position": "between", "num_layers": 2},
        {"standardise": False},
    ],
)
@pytest.mark.usefixtures("rising")
def test_every_decoder_can_train_an_encoder(task: FinetuneTask, tmp_path: Path, model: dict[str, Any]) -> None:
    other = replace(task, model=SIZES.model_copy(update=model))
    curve, weights = trained(other, tmp_path)
    assert len(curve) == 3
    assert any(not torch.equal(weights[name], tensor) for name, tensor in task.encoder.state_dict().items())


def test_more_blocks_than_there_are_is_one_line(task: FinetuneTask, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"finetune.blocks \(99\) is more than the 7 blocks of timm/test_efficientnet"):
        trained(task, tmp_path, blocks=99)


def test_the_key_names_all_that_decides_the_weights(task: FinetuneTask) -> None:
    def settings(**more: Any) -> FinetuneTask:
        return replace(task, settings=task.settings.model_copy(update=more))

    other = [
        settings(min_crop=0.5), settings(blocks=1), replace(task, seed=2), replace(task, image_checksums="others"),
        replace(task, code="other"), replace(task, model=SIZES.model_copy(update={"sentinel": True})),
        replace(task, encoder=build_encoder("timm/test_efficientnet", "random", image_size=96)),
    ]  # fmt: skip
    assert len({each.key() for each in (task, *other)}) == len(other) + 1
    assert settings(checkpoint_seconds=5.0).key() == settings(devices=2).key() == task.key()
