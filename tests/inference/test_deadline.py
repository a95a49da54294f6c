"""A search ends between two words once its time is over, or when nobody waits for it any more."""

import time

import pytest
from PIL import Image

from wordgaze.core.errors import RequestTimeoutError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.deadline import Deadline

LONG = GenerationConfig(max_new_tokens=200, min_new_tokens=200)


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample", "mbr", "neighbours"])
def test_every_strategy_stops_between_two_words(tiny_captioner: Captioner, strategy: str) -> None:
    features = tiny_captioner.features([Image.new("RGB", (64, 64), "white")])
    steps = []

    class Third(Deadline):
        def check(self) -> None:
            steps.append(1)
            if len(steps) == 3:
                self.cancel()
            super().check()

    config = LONG.model_copy(update={"strategy": strategy})
    with pytest.raises(RequestTimeoutError, match="the request was cancelled"):
        tiny_captioner.generate(features, config, ["0"], 0, deadline=Third())
    assert len(steps) == 3


def test_the_time_ends_by_itself() -> None:
    deadline = Deadline(0.02)
    deadline.check()
    assert 0 < deadline.remaining <= 0.02
    time.sleep(0.03)
    assert deadline.remaining == 0
    with pytest.raises(RequestTimeoutError, match=r"took longer than the 0.02 seconds allowed; send fewer images"):
        deadline.check()
    Deadline().check()
