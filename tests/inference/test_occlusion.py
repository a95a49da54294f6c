"""Covering parts of an image: which words it makes less probable, and the areas under deletion and insertion curves."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wordgaze.core.errors import ModelError
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.occlusion import CoveredImage, deletion_insertion, occlusion_maps
from wordgaze.text.vocabulary import SPECIAL, Vocabulary

GRID = (4, 6)
DOG = (1, 4)  # the cell on whose brightness the probability of "dog" depends
VOCABULARY = Vocabulary((*SPECIAL, "a", "dog"))


def decode(features: Tensor, tokens: Tensor) -> SimpleNamespace:
    """ "a" has a probability of one half whatever the image shows, "dog" one that grows with the brightness of its cell.

    The words come last to first, as a decoder may return them.
    """
    brightness = features.reshape(len(features), *GRID)[:, DOG[0], DOG[1]]
    logits = torch.full((*tokens.shape[::2], len(VOCABULARY.words)), -50.0)  # (N, T, V)
    logits[:, 0, VOCABULARY.words.index("a")], logits[:, 0, 0] = 0.0, 0.0
    logits[:, 1, VOCABULARY.words.index("dog")], logits[:, 1, 0] = brightness / 50, 2.0
    logits[:, 2, 2] = 0.0
    positions = torch.arange(tokens.numel()).flip(0)
    return SimpleNamespace(
        logits=logits.reshape(-1, len(VOCABULARY.words))[positions],
        targets=tokens.reshape(-1)[positions],
        positions=positions,
    )


@pytest.fixture
def image() -> CoveredImage:
    """A black image with one bright cell, that of the dog."""
    pixels = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    pixels[:, :, 6:12, 16:20] = 240
    encode: Callable[[Tensor], Tensor] = lambda pixels: torch.stack(  # noqa: E731
        [part.float().mean(dim=(1, 2, 3)) for rows in pixels.split(6, 2) for part in rows.split(4, 3)], 1
    )
    captioner = SimpleNamespace(
        vocabulary=VOCABULARY,
        device=torch.device("cpu"),
        encoder=SimpleNamespace(spec=SimpleNamespace(grid=GRID)),
        encode=encode,
        decoder=decode,
    )
    return CoveredImage(cast("Captioner", captioner), pixels, ["a", "dog"])


def test_the_cell_that_a_word_depends_on_has_the_greatest_fall(image: CoveredImage) -> None:
    of_a, of_dog = occlusion_maps(image)
    assert np.unravel_index(of_dog.argmax(), GRID) == DOG
    assert of_dog[DOG] > 0.5  # nats
    assert of_dog[3, 0] == pytest.approx(0, abs=1e-6)
    assert np.abs(of_a).max() < 1e-6  # a word that the image does not change


def test_right_weights_have_a_lower_deletion_and_a_higher_insertion_than_wrong_ones(image: CoveredImage) -> None:
    right, wrong = np.zeros((2, *GRID), np.float32), np.zeros((2, *GRID), np.float32)
    right[:, DOG[0], DOG[1]], wrong[:, 3, 0] = 1, 1
    wrong[:, DOG[0], DOG[1]] = -1  # last of all
    good, bad = deletion_insertion(image, right, [1]), deletion_insertion(image, wrong, [1])
    whole, covered = np.exp(image.ends[:, 1])
    assert covered < good.deletion[0] < bad.deletion[0] < whole
    assert covered < bad.insertion[0] < good.insertion[0] < whole
    # The curves are known: all of the fall lies in the first and in the last interval.
    assert good.deletion[0] == pytest.approx(covered + 0.05 / 2 * (whole - covered), rel=1e-4)
    assert good.insertion[0] == pytest.approx(whole - 0.05 / 2 * (whole - covered), rel=1e-4)
    assert bad.deletion[0] == pytest.approx(whole - 0.4 / 2 * (whole - covered), rel=1e-4)


def test_nothing_covered_gives_the_log_probabilities_of_the_explanation(
    tiny_captioner: Captioner, picture: Any
) -> None:
    explanation = tiny_captioner.explain(picture, "a dog sleeps", occlusion=True)
    pixels = tiny_captioner.encoder.pixels([explanation.image])
    covered = CoveredImage(tiny_captioner, pixels, ["a", "dog", "sleeps"])
    assert covered.ends[0] == pytest.approx(explanation.caption.word_log_probs, abs=1e-5)
    assert explanation.occlusion is not None
    assert explanation.occlusion.shape == explanation.attention.shape
    assert explanation.occlusion == pytest.approx(occlusion_maps(covered), abs=1e-6)
    words = explanation.to_dict()["words"]
    assert np.array(words[1]["occlusion"]) == pytest.approx(explanation.occlusion[1], abs=1e-6)


def test_an_image_of_one_colour_depends_on_no_cell(tiny_captioner: Captioner) -> None:
    explanation = tiny_captioner.explain(Image.new("RGB", (30, 20), (9, 99, 200)), "a dog", occlusion=True)
    assert explanation.occlusion == pytest.approx(np.zeros_like(explanation.attention), abs=1e-5)


def test_a_sheet_with_occlusion_has_a_row_more(tiny_captioner: Captioner, picture: Any) -> None:
    plain = tiny_captioner.explain(picture, "a dog").draw()
    both = tiny_captioner.explain(picture, "a dog", occlusion=True).draw()
    assert both.height > 1.8 * plain.height


def test_a_word_that_is_not_in_the_vocabulary_is_refused(tiny_captioner: Captioner, picture: Any) -> None:
    with pytest.raises(ModelError, match="zebra"):
        tiny_captioner.explain(picture, "a zebra", occlusion=True)
