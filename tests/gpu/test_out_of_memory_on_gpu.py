"""On a GPU with too little memory batches are halved, and the results are those of the whole batch."""

import gc
from collections.abc import Iterator

import pytest
import torch

from tests.gpu.conftest import DEVICE
from wordgaze.config.params import TrainParams
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END
from wordgaze.training.batches import Batch
from wordgaze.training.train_step import Objective, TrainStep

LARGE = DecoderConfig(
    embedding_size=64, hidden_size=64, attention_size=256, feature_size=64, standardise=False,
    dropout_embedding=0, dropout_features=0, dropout_output=0,
)  # fmt: skip


@pytest.fixture
def little_memory() -> Iterator[None]:
    if DEVICE.type != "cuda":
        pytest.skip("limits the memory of a GPU")
    gc.collect()  # CUDA graphs of other steps hold memory until then, which would count as taken and be free afterwards
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 200e6) / total))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def gradient(images: int) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(3)
    decoder = Decoder(LARGE, 8, 3000).to(DEVICE)
    features = torch.randn(images, 49, 8)
    captions = torch.randint(4, 3000, (images, 5, 12)).index_fill(2, torch.tensor([11]), END)
    step = TrainStep(decoder, None, TrainParams(), Objective(), torch.float32)
    loss = float(step(Batch(features, captions, tuple(map(str, range(images))))).loss)
    return loss, [p.grad.cpu() for p in step.parameters() if p.grad is not None]


def test_a_training_step_is_that_of_the_whole_batch(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    whole_loss, whole = gradient(64)
    request.getfixturevalue("little_memory")
    loss, parts = gradient(64)
    assert "images at once in training; batches are halved" in caplog.text
    assert loss == pytest.approx(whole_loss, rel=1e-4)
    torch.testing.assert_close(parts, whole, rtol=1e-2, atol=1e-5)
