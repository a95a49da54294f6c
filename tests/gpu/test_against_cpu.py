"""A GPU computes what the CPU computes: features, losses and gradients, captions."""

import copy
from typing import Literal, cast

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.generation.tiny import model, pictures, settings
from tests.gpu.conftest import DEVICE
from tests.models import variants
from wordgaze.config.params import Stage2Params, TrainParams
from wordgaze.core.device import pick_dtype
from wordgaze.generation.generate import generate
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.packaged import PHOTOS, packaged_captioner
from wordgaze.text.vocabulary import END, SPECIAL, Vocabulary
from wordgaze.training.batches import Batch, pad_captions
from wordgaze.training.self_critical import SelfCriticalLoss
from wordgaze.training.train_step import Objective, TrainStep
from wordgaze.vision.encoders import build_encoder
from wordgaze.vision.tagger import Tagger

NAME = cast("Literal['cpu', 'cuda']", DEVICE.type)
CAPTIONS = [[[4, 5, 6, END], [5, END], [7, 8, END]], [[8, 4, 7, 5, 6, END], [4, 4, END]]]
VOCABULARY = Vocabulary((*SPECIAL, *"abcde"))
REFERENCES = {"p": [["a", "b"], ["a", "c", "d"]], "q": [["c", "a"], ["d", "e", "a"]]}


def difference(expected: Tensor, actual: Tensor) -> float:
    """Relative to the norm of ``expected``."""
    return float((expected - actual.float().cpu()).norm() / expected.norm().clamp(min=1e-6))


def photographs(count: int) -> list[Image.Image]:
    """Smooth random images of several shapes."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(256, (count, 6, 8, 3), generator=generator, dtype=torch.uint8).numpy()
    return [Image.fromarray(c).resize((320 + 40 * i, 240), Image.Resampling.BICUBIC) for i, c in enumerate(coarse)]


@pytest.mark.parametrize("names", ["timm/tf_efficientnet_lite2+timm/tf_efficientnet_lite0", "torchvision/resnet18"])
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_features(names: str, precision: Literal["auto", "fp32"]) -> None:
    encoder = build_encoder(names, "random", depths=2)
    pixels = encoder.pixels(photographs(3))
    dtype = pick_dtype(precision, DEVICE)
    fast = encoder.optimised(DEVICE, dtype)
    with torch.inference_mode():
        expected, actual = encoder(pixels), fast(pixels.to(DEVICE))
    assert actual.device.type == DEVICE.type
    # Convolutions of fp32 are computed in TF32 on a GPU, with 10 bits of mantissa.
    assert difference(expected, actual) < (2e-2 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("name", list(variants.VARIANTS))
@pytest.mark.parametrize("objective", ["xe", "scst", "both"])
def test_losses_and_gradients(name: str, objective: str) -> None:
    """Without dropout and draws of hard attention, which differ by device."""
    decoder = variants.decoder_of(**variants.VARIANTS[name])
    batch = Batch(variants.pictures(2), pad_captions(CAPTIONS), ("p", "q"))
    outputs = {}
    for device in (torch.device("cpu"), DEVICE):
        own = copy.deepcopy(decoder).to(device)
        own.train = lambda mode=True, own=own: own  # type: ignore[method-assign, misc]
        critical = SelfCriticalLoss(VOCABULARY, REFERENCES, Stage2Params(num_samples=3), 5)
        weight = {"xe": 1.0, "scst": 0.0, "both": 0.5}[objective]
        step = TrainStep(
            own, None, TrainParams(), Objective(weight, critical if objective != "xe" else None), torch.float32
        )
        torch.manual_seed(1)
        loss = step(batch).loss.cpu()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in step.parameters()]
        outputs[device] = loss, torch.cat([g.flatten().cpu() for g in gradients])
    expected, actual = outputs[torch.device("cpu")], outputs[DEVICE]
    assert float(actual[0]) == pytest.approx(float(expected[0]), rel=1e-4, abs=1e-5)
    assert difference(expected[1], actual[1]) < 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "greedy"},
        {"strategy": "beam", "num_beams": 5, "num_return_sequences": 3},
        {"strategy": "beam", "num_beams": 4, "force_words": ["w2|w3", "w5"]},
        {"strategy": "diverse", "num_beams": 6, "num_beam_groups": 3, "num_return_sequences": 3},
        {"strategy": "sample", "num_return_sequences": 4, "top_p": 0.9},
        {"strategy": "sample", "num_return_sequences": 4, "typical_p": 0.8, "min_p": 0.05},
        {"strategy": "mbr", "num_beams": 4, "mbr_samples": 6},
        {"strategy": "beam", "num_beams": 3, "no_repeat_ngram_size": 2, "min_new_tokens": 4, "bad_words": ["w1"]},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_captions(changes: dict[str, object]) -> None:
    decoder, vocabulary = model(9, 4)
    decode = settings(str(changes["strategy"]), **{k: v for k, v in changes.items() if k != "strategy"})
    images = pictures(7)
    expected = generate(decoder, images, vocabulary, decode, seed=2)
    actual = generate(decoder.to(DEVICE), images.to(DEVICE), vocabulary, decode, seed=2)
    assert [[c.words for c in of_image] for of_image in actual] == [
        [c.words for c in of_image] for of_image in expected
    ]
    log_probs = [[c.log_prob for of_image in captions for c in of_image] for captions in (actual, expected)]
    assert log_probs[0] == pytest.approx(log_probs[1], abs=1e-3)


def test_the_packaged_captioner_with_everything_that_it_has() -> None:
    """Names, the reranker and the confidence. A word may differ where two are about equally probable."""
    folder = packaged_captioner(PHOTOS)
    images = photographs(8)
    expected = Captioner.load(folder, "cpu").caption(images)
    actual = Captioner.load(folder, NAME).caption(images)
    same = [a[0].words == b[0].words for a, b in zip(actual, expected, strict=True)]
    assert sum(same) >= 7, (actual, expected)
    for a, b, equal in zip(actual, expected, same, strict=True):
        if equal:
            assert a[0].confidence == pytest.approx(b[0].confidence, abs=0.02)
            assert abs(a[0].attention - b[0].attention).max() < 0.02


def test_the_classes_that_a_tagger_sees() -> None:
    encoder = build_encoder("timm/tf_efficientnet_lite0")
    tagger = Tagger.from_networks(encoder.spec)
    assert tagger
    pixels = encoder.pixels(photographs(3))
    with torch.inference_mode():
        features = encoder(pixels)
    expected, actual = tagger.probabilities(features), tagger.probabilities(features.to(DEVICE))
    assert torch.allclose(actual, expected, atol=1e-5)
