"""``wordgaze faithfulness``: how much the probability of words depends on where they attend to."""

from pathlib import Path

import pytest

from wordgaze.core.errors import DataError
from wordgaze.evaluation.faithfulness import COVERING_ORDERS, measure_faithfulness
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner

GENERATION = GenerationConfig(num_beams=2, min_new_tokens=2, max_new_tokens=4)


def test_areas_of_all_orders_are_probabilities_with_intervals(tiny_captioner: Captioner, pictures: Path) -> None:
    result = measure_faithfulness([pictures], tiny_captioner, GENERATION, max_images=2)
    assert result.num_images == 2
    assert result.num_words >= 2
    assert tuple(result.orders) == COVERING_ORDERS
    for areas in result.orders.values():
        for area in (areas.deletion, areas.insertion):
            assert 0 < area.low <= area.value <= area.high < 1
    assert result == measure_faithfulness([pictures], tiny_captioner, GENERATION, max_images=2)
    assert result.orders["random"] != result.orders["centre"]


def test_an_image_that_cannot_be_read_does_not_cost_the_others(
    tiny_captioner: Captioner, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "0.png").write_bytes(b"not an image")
    assert measure_faithfulness([pictures], tiny_captioner, GENERATION, max_images=3).num_images == 2
    assert "0.png: " in caplog.text and "; it is left out" in caplog.text


def test_captions_of_function_words_are_refused(tiny_captioner: Captioner, pictures: Path) -> None:
    only = GenerationConfig(max_new_tokens=1, min_new_tokens=1, force_words=("a",))
    with pytest.raises(DataError, match="has a word that is not a function word"):
        measure_faithfulness([pictures], tiny_captioner, only, max_images=1)
