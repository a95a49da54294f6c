"""Where a GPU has too little memory, batches are halved, which is said once."""

from collections.abc import Sequence

import pytest
import torch

from wordgaze.core import out_of_memory
from wordgaze.core.errors import ModelError
from wordgaze.core.out_of_memory import halved


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "_LOGGED", set())


def room_for(size: int, items: Sequence[int]) -> list[int]:
    if len(items) > size:
        raise torch.OutOfMemoryError
    return [item * item for item in items]


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_results_are_those_of_the_whole_batch(size: int, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        parts = halved(lambda items: room_for(size, items), range(9), "the encoder")
        assert [result for part in parts for result in part] == [n * n for n in range(9)]
    said = ["the GPU has too little memory for 9 images at once in the encoder; batches are halved"]
    assert caplog.messages == (said if size < 9 else [])


def test_one_image_that_is_too_much_is_an_error() -> None:
    with pytest.raises(ModelError, match="too little memory for one image in generation; use device: cpu"):
        halved(lambda items: room_for(0, items), range(4), "generation")
