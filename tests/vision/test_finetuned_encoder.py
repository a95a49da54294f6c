"""The folder of a fine-tuned encoder: what is written is read, and nothing else is."""

from pathlib import Path

import pytest
import torch

from wordgaze.core.errors import DataError, ModelError
from wordgaze.vision.encoders import Encoder, build_encoder
from wordgaze.vision.finetuned_encoder import load_finetuned, write_encoder


@pytest.fixture
def encoder() -> Encoder:
    return build_encoder("timm/test_efficientnet", "random", image_size=64)


def test_an_encoder_gets_the_weights_that_were_written(encoder: Encoder, tmp_path: Path) -> None:
    tuned = {name: tensor + 1 for name, tensor in encoder.state_dict().items()}
    write_encoder(tmp_path / "encoder", tuned, {"blocks": 2})
    load_finetuned(tmp_path / "encoder", encoder)
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in encoder.state_dict().items())


def test_the_weights_of_another_encoder_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    write_encoder(tmp_path / "encoder", build_encoder("torchvision/resnet18", "random").state_dict(), {"blocks": 1})
    with pytest.raises(ModelError, match=r"has the weights of another encoder than timm/test_efficientnet; run dvc"):
        load_finetuned(tmp_path / "encoder", encoder)


@pytest.mark.parametrize("state", ["none", "damaged", "no folder"])
def test_missing_and_damaged_weights_are_one_line(encoder: Encoder, tmp_path: Path, state: str) -> None:
    folder = tmp_path / "encoder"
    if state != "no folder":
        write_encoder(folder, None if state == "none" else encoder.state_dict(), {"blocks": 0})
    if state == "damaged":
        with (folder / "encoder.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"?")
    with pytest.raises(DataError, match=r"dvc repro -f -s finetune") as caught:
        load_finetuned(folder, encoder)
    assert "\n" not in str(caught.value)
