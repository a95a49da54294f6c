"""Grounding on a user's images, of captioners with every kind of attention."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wordgaze.core.errors import DataError
from wordgaze.evaluation.ground import ground_pictures
from wordgaze.evaluation.grounding_results import GroundingResult
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.text.vocabulary import Vocabulary

NOUNS = ("a", "dog", "cat", "runs", "sleeps", "outside")  # every word of the tiny captioner
GENERATION = GenerationConfig(num_beams=2, min_new_tokens=2, max_new_tokens=4)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Boxes that cover the left half of two of the images."""
    path = tmp_path / "instances.json"
    annotations = [
        {"id": 10 * image + n, "image_id": image, "category_id": n, "bbox": [0, 0, 24, 32], "iscrowd": 0}
        for image in range(2)
        for n in range(len(NOUNS))
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 48, "height": 32} for n in range(2)],
        "categories": [{"id": n, "name": noun} for n, noun in enumerate(NOUNS)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def with_attention(tiny_captioner: Captioner) -> Callable[..., Captioner]:
    """The tiny captioner with a decoder of other attention settings."""

    def make(**settings: object) -> Captioner:
        sizes = {"embedding_size": 8, "hidden_size": 8, "attention_size": 8, "feature_size": 8}
        torch.manual_seed(3)
        vocabulary, encoder = tiny_captioner.vocabulary, tiny_captioner.encoder
        config = DecoderConfig.model_validate({**sizes, **settings})
        return Captioner(Decoder(config, encoder.spec.channels, len(vocabulary)).eval(), vocabulary, encoder)

    return make


def check(result: GroundingResult) -> None:
    assert result.num_images == 2
    assert result.num_words >= 4
    for measure in (result.scores.pointing, result.scores.mass):
        assert measure.attention is not None and 0 <= measure.attention <= 1
        assert measure.uniform == pytest.approx(0.5)  # a box of half the image


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sentinel": True, "attention_position": "last"},
        {"span": "local_p", "window": 1, "attention_position": "last"},
    ],
    ids=["soft", "sentinel", "local_p"],
)
def test_every_kind_of_attention_is_measured(
    pictures: Path, boxes: Path, with_attention: Callable[..., Captioner], settings: dict[str, object]
) -> None:
    result = ground_pictures([pictures], boxes, with_attention(**settings), GENERATION)
    check(result)
    assert result.scores.is_partial is bool(settings)


def test_batches_do_not_change_the_scores(pictures: Path, boxes: Path, tiny_captioner: Captioner) -> None:
    together = ground_pictures([pictures], boxes, tiny_captioner, GENERATION)
    one_by_one = ground_pictures([pictures], boxes, tiny_captioner, GENERATION, batch_size=1)
    check(one_by_one)
    assert one_by_one.scores.mass.attention == pytest.approx(together.scores.mass.attention, abs=1e-4)
    assert (one_by_one.num_words, one_by_one.scores.pointing) == (together.num_words, together.scores.pointing)


def test_an_image_that_cannot_be_read_does_not_cost_the_others(
    pictures: Path, boxes: Path, tiny_captioner: Captioner, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "0.png").write_bytes((pictures / "0.png").read_bytes()[:60])
    result = ground_pictures([pictures], boxes, tiny_captioner, GENERATION)
    assert result.num_images == 1
    assert "0.png: " in caplog.text and "; it is left out" in caplog.text


def test_images_without_boxes_are_refused(pictures: Path, boxes: Path, tiny_captioner: Captioner) -> None:
    with pytest.raises(DataError, match="has no boxes of these pictures"):
        ground_pictures([pictures / "2.png"], boxes, tiny_captioner, GENERATION)


def test_a_captioner_of_another_language_names_no_objects(
    tiny_captioner: Captioner, pictures: Path, boxes: Path
) -> None:
    vocabulary = Vocabulary(tiny_captioner.vocabulary.words, get_tokenizer("unicode"))
    captioner = Captioner(tiny_captioner.decoder, vocabulary, tiny_captioner.encoder)
    with pytest.raises(DataError, match="known in English only, and the captioner has the tokenizer unicode"):
        ground_pictures([pictures], boxes, captioner, GENERATION)
