"""The recurrence as a function of tensors alone, as a CUDA graph needs it; tests/gpu runs the graphs themselves."""

import pytest
import torch

from tests.models.variants import VARIANTS, decoder_of, padded, pictures
from wordgaze.config.params import TrainParams
from wordgaze.models import cuda_graphs, kernels
from wordgaze.models.cuda_graphs import GraphedRecurrence
from wordgaze.models.decoder import DecoderOutput
from wordgaze.text.vocabulary import END
from wordgaze.training.losses import captioning_loss

CAPTIONS = padded([[[4, 5, 6, 7, END], [5, END], [7, 8, END]], [[8, END], [4, 4, END], [6, END]]])


@pytest.mark.parametrize("name", [name for name in VARIANTS if "hard" not in name])
def test_it_computes_what_the_decoder_computes(name: str) -> None:
    decoder = decoder_of(**VARIANTS[name])
    recurrence = GraphedRecurrence(decoder, torch.float32)
    results = []
    for own in (None, recurrence):
        decoder.zero_grad()
        with kernels.reference():
            output: DecoderOutput = decoder(pictures(2), CAPTIONS, own)
            captioning_loss(output, TrainParams()).loss.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in decoder.parameters()]
        results.append((*output, *gradients))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*results, strict=True))
    assert len(recurrence._graphs) == 1


def test_packed_captions_and_further_shapes_run_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of()
    recurrence = GraphedRecurrence(decoder, torch.float32)
    assert torch.equal(decoder(pictures(2), CAPTIONS, recurrence).logits, decoder(pictures(2), CAPTIONS).logits)
    assert not recurrence._graphs
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", 1)
    with kernels.reference():
        for captions in (CAPTIONS, CAPTIONS[:, :2], CAPTIONS):
            expected = decoder(pictures(2), captions).logits
            assert torch.allclose(decoder(pictures(2), captions, recurrence).logits, expected, atol=1e-6)
    assert len(recurrence._graphs) == 1


def test_captions_of_similar_length_share_a_graph() -> None:
    decoder, recurrence = decoder_of(), None
    recurrence = GraphedRecurrence(decoder, torch.float32)
    with kernels.reference():
        for longest in (2, 3, 4):
            decoder(pictures(1), padded([[[4] * (longest - 1) + [END], [5, END]]], 2), recurrence)
    assert len(recurrence._graphs) == 1
