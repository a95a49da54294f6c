"""A training on a GPU learns, and gives the same bytes when it is repeated and when it is killed and resumed."""

from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.gpu.conftest import DEVICE
from tests.training.test_trainer import EXAMPLES, SIZES, STEPS, Store, rewarding
from wordgaze.config.params import TrainParams
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.training.batches import BatchLoader
from wordgaze.training.train_step import Objective
from wordgaze.training.trainer import FinetunedEncoder, Trainer
from wordgaze.vision.augmentation import Augmentation
from wordgaze.vision.encoders import build_encoder

KINDS = {
    "soft": {},
    "hard": {"hard_attention": True},
    "adaptive": {"attention_position": "last", "sentinel": True, "gate": False, "hidden_size": 5},
}


class Killed(Exception):
    pass


def trainer(folder: Path, kind: str, objective: str, epochs: int = 3) -> Trainer:
    torch.manual_seed(5)
    params = TrainParams(
        epochs=epochs, batch_size=3, learning_rate=0.02, warmup_steps=2, checkpoint_seconds=0, ema_decay=0.9,
        device=DEVICE.type,  # type: ignore[arg-type]
    )  # fmt: skip
    decoder = Decoder(DecoderConfig.model_validate({**SIZES.model_dump(), **KINDS[kind]}), 3, 8)
    batches = BatchLoader(EXAMPLES, Store(), params.batch_size, 5)  # type: ignore[arg-type]
    objectives = {"xe": Objective(), "scst": rewarding(), "both": rewarding(0.5)}
    return Trainer(decoder, batches, minus_norm, params, 5, folder / "checkpoint", None, objectives[objective])


@torch.no_grad()
def minus_norm(decoder: Decoder) -> float:
    """A dev score that depends on the weights."""
    return -float(torch.stack([p.float().norm() for p in decoder.parameters()]).sum())


def train(of: Trainer, stop_after: int | None = None) -> bytes:
    steps = 0

    def on_step(done: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            raise Killed

    of.train(lambda row: None, on_step)
    return save({name: tensor.cpu() for name, tensor in of.decoder.state_dict().items()})


@pytest.mark.parametrize("objective", ["xe", "scst", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_repeated_and_resumed_it_gives_the_same_bytes(tmp_path: Path, kind: str, objective: str) -> None:
    folders = [tmp_path / name for name in ("one", "two", "killed")]
    once = train(trainer(folders[0], kind, objective))
    assert train(trainer(folders[1], kind, objective)) == once
    with pytest.raises(Killed):
        train(trainer(folders[2], kind, objective), stop_after=STEPS + 2)
    assert train(trainer(folders[2], kind, objective)) == once


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_in_the_number_format_of_the_device(tmp_path: Path, kind: str) -> None:
    of = trainer(tmp_path, kind, "xe", epochs=60)
    train(of)
    losses = [row["train_loss"] for row in of.state.history]
    assert losses[-1] < 0.95 * losses[0]


def test_the_encoder_is_trained_too(tmp_path: Path) -> None:
    encoder = build_encoder("timm/test_efficientnet", "random", image_size=64)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    decoder = Decoder(DecoderConfig(embedding_size=8, hidden_size=8, attention_size=8, feature_size=8),
                      encoder.spec.channels, 8)  # fmt: skip

    class Pixels:
        def read(self, images: object) -> torch.Tensor:
            count = len(images)  # type: ignore[arg-type]
            return torch.randint(256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(torch.uint8)

    params = TrainParams(epochs=2, batch_size=4, device=DEVICE.type)  # type: ignore[arg-type]
    scores = count()  # the last epoch is the best one; in the first the decoder is trained alone
    finetuned = FinetunedEncoder(encoder, 1, 1e-2, Augmentation())
    of = Trainer(
        decoder,
        BatchLoader(EXAMPLES, Pixels(), 4, 1),
        lambda _: float(next(scores)),
        params,
        1,
        tmp_path / "c",
        finetuned,
    )
    of.train(lambda row: None, lambda done, total: None)
    after = encoder.state_dict()
    assert any(not torch.equal(after[name].cpu(), before[name]) for name in before)
