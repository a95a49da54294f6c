"""Files that are encoded ahead in threads have the captions of one image at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wordgaze.core.errors import ImageError, ParamsError
from wordgaze.core.parallel import available_cpus
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioned import ImageSource
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.encode_ahead import caption_ahead
from wordgaze.inference.inputs import BATCH_SIZE
from wordgaze.vision.encoders import CPU_BATCH
from wordgaze.vision.images import load_image

GREEDY = GenerationConfig(strategy="greedy", max_new_tokens=4)
SAMPLE = GenerationConfig(strategy="sample", max_new_tokens=4)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """More images than a batch, each with other pixels."""
    rng, paths = np.random.default_rng(0), []
    for number in range(BATCH_SIZE + CPU_BATCH + 1):
        paths.append(tmp_path / f"{number:02}.png")
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(paths[-1])
    return paths


def sources(files: list[Path]) -> list[ImageSource]:
    return [partial(load_image, path) for path in files]


@pytest.mark.parametrize("config", [GREEDY, SAMPLE], ids=["greedy", "sample"])
def test_captions_are_those_of_one_image_at_a_time(
    tiny_captioner: Captioner, files: list[Path], config: GenerationConfig
) -> None:
    together = caption_ahead([tiny_captioner], sources(files), config, seed=3)
    found = [[caption.text for caption in result.captions] for result in together]
    expected = [tiny_captioner.caption(path, config, seed=3) for path in files]
    assert found == [[caption.text for caption in of_image] for of_image in expected]


def test_an_image_that_cannot_be_opened_has_its_error_in_its_place(
    tiny_captioner: Captioner, files: list[Path]
) -> None:
    files[1].write_bytes(b"no image")
    known: ImageSource = ImageError("a folder cannot be listed")
    results = list(caption_ahead([tiny_captioner], [*sources(files[:3]), known], GREEDY))
    assert [bool(result.captions) for result in results] == [True, False, True, False]
    assert str(results[1].error).startswith(f"{files[1]}: is not a JPEG")
    assert str(results[3].error) == "a folder cannot be listed"
    nothing = list(caption_ahead([tiny_captioner], [known] * (CPU_BATCH + 1), GREEDY))
    assert [result.error for result in nothing] == [known] * (CPU_BATCH + 1)


def test_an_error_of_the_settings_ends_the_iteration(tiny_captioner: Captioner, files: list[Path]) -> None:
    with pytest.raises(ParamsError, match="zebra"):
        list(caption_ahead([tiny_captioner], sources(files), GenerationConfig(force_words=("zebra",))))


def test_images_are_taken_a_batch_and_a_few_per_core_ahead(tiny_captioner: Captioner, files: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[ImageSource]:
        nonlocal taken
        while True:
            taken += 1
            yield partial(load_image, files[0])

    results = caption_ahead([tiny_captioner], endless(), GREEDY)
    next(results)
    assert BATCH_SIZE <= taken <= BATCH_SIZE + CPU_BATCH * (available_cpus() + 1)
    results.close()


def test_the_caller_computes_with_all_cores_again(tiny_captioner: Captioner, files: list[Path]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in caption_ahead([tiny_captioner], sources(files), GREEDY):
            assert torch.get_num_threads() == 2
        list(caption_ahead([tiny_captioner], [ImageError("cannot be read")], GREEDY))
        with ThreadPoolExecutor(1) as later:  # a new thread takes the number that any thread has set last
            assert later.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(threads)
