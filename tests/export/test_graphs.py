"""The graphs of every kind of decoder compute what the decoder does, for other numbers of images and hypotheses too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.variants import VARIANTS, config, decoder_of, pictures
from wordgaze.core.errors import ModelError
from wordgaze.export.graphs import InitGraph, StepGraph
from wordgaze.export.tracing import write_decoder, write_graphs
from wordgaze.inference.folder_names import ENCODER_GRAPH, INIT_GRAPH, STEP_GRAPH
from wordgaze.models.decoder import Decoder
from wordgaze.vision.encoders import Encoder, build_encoder

pytest.importorskip("onnxscript", reason='the extra "export" is not installed')
ort = pytest.importorskip("onnxruntime", reason='the extra "export" is not installed')


def run(path: Path, names: list[str], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return [torch.from_numpy(output) for output in ort.InferenceSession(path).run(None, given)]


def steps(decoder: Decoder, folder: Path, batch_size: int, beam: int) -> None:
    """Three steps by the graphs, each compared with the same step by the decoder."""
    features = pictures(batch_size)
    init, step = InitGraph(decoder), StepGraph(decoder)
    expected = list(init(features))
    outputs = run(folder / INIT_GRAPH, ["features"], [features])
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-4)
    memory, states = expected[: init.num_memory], [each.repeat(1, beam, 1) for each in expected[init.num_memory :]]
    for number in range(3):
        words = torch.arange(batch_size * beam).view(batch_size, beam).remainder(5) + 3 + number % 2
        inputs = [words, torch.tensor([float(number)]), *memory, *states]
        expected = list(step(*inputs))
        torch.testing.assert_close(run(folder / STEP_GRAPH, step.input_names, inputs), expected, atol=1e-5, rtol=1e-4)
        states = expected[2:]


# An export takes seconds: these have every part that a decoder may have.
KINDS = (
    "soft", "standardised", "dot", "local_m", "local_p", "hard", "adaptive deep", "top_down sentinel", "gru top_down",
    "tied", "hard local top_down",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_kind_of_decoder_is_exported(kind: str, tmp_path: Path) -> None:
    decoder = decoder_of(**VARIANTS[kind])  # type: ignore[arg-type]
    write_decoder(tmp_path, decoder, pictures(2))
    for batch_size, beam in ((1, 1), (3, 4), (2, 1)):
        steps(decoder, tmp_path, batch_size, beam)


@pytest.mark.parametrize("grid", [0, 3, 4])
@torch.no_grad()
def test_the_encoder_is_exported_with_every_grid(grid: int, tmp_path: Path) -> None:
    encoder = build_encoder("timm/test_efficientnet", "random", 64, grid, upsample_last=True)
    decoder = Decoder(config(), encoder.spec.channels, 9).eval()
    write_graphs(tmp_path, encoder, decoder)
    pixels = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    (found,) = run(tmp_path / ENCODER_GRAPH, ["pixels"], [pixels])
    expected = encoder(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


class _Unsupported(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.sort(features.numpy()))


def test_what_cannot_be_exported_is_told_by_its_name(tiny_encoder: Encoder, tmp_path: Path) -> None:
    decoder = decoder_of()
    decoder.feature_projection = _Unsupported()
    with pytest.raises(ModelError, match="decoder_init cannot be exported to ONNX"):
        write_decoder(tmp_path, decoder, pictures(2))
    encoder = Encoder(tiny_encoder.spec, [_Unsupported()])
    with pytest.raises(ModelError, match="encoder cannot be exported to ONNX"):
        write_graphs(tmp_path, encoder, decoder)
