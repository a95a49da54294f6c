"""Images that a captioner was trained on are left out of its comparison, by name."""

import logging
from pathlib import Path, PurePosixPath

import pytest

from wordgaze.core.errors import TrackingError
from wordgaze.core.files import sha256
from wordgaze.data.datasets.source import Found
from wordgaze.generation.config import GenerationConfig
from wordgaze.text.tokenizers import get_tokenizer
from wordgaze.tracking.gate_captions import Candidate
from wordgaze.tracking.gate_data import GateData, GateIdentity
from wordgaze.tracking.gate_overlap import without_training_images
from wordgaze.training.training_images import image_checksums, training_images, training_images_text


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(36):
        (folder / f"{number:02}.png").write_bytes(b"picture %d" % number)
    return sorted(folder.iterdir())


def gate_set(pictures: list[Path]) -> GateData:
    identity = GateIdentity(name="dev", num_images=len(pictures), pictures="", references="", tokenizer="", checksum="")
    images = tuple(Found(each.parent, PurePosixPath(each.name)) for each in pictures)
    captions = tuple(((each.stem,),) for each in pictures)
    return GateData(identity, images, captions, get_tokenizer("ptb"), (), frozenset(), tuple(map(sha256, pictures)))


def trained_on(folder: Path, version: int, pictures: list[Path] | None) -> Candidate:
    folder = folder / str(version)
    folder.mkdir()
    if pictures is not None:
        (folder / "training_images.txt").write_text(training_images_text(image_checksums(pictures)))
    return Candidate(version, folder, GenerationConfig())


def test_images_that_either_was_trained_on_are_left_out_by_name(tmp_path: Path, pictures: list[Path]) -> None:
    copy = tmp_path / "corrected-7.png"  # the same picture by another name
    copy.write_bytes(pictures[7].read_bytes())
    both = [trained_on(tmp_path, 2, [copy, *pictures[:4]]), trained_on(tmp_path, 1, pictures[35:])]
    left, told = without_training_images(gate_set(pictures), both)
    assert [image.path.name for image in left.images] == [p.name for p in [*pictures[4:7], *pictures[8:35]]]
    assert [captions[0][0] for captions in left.references] == [image.path.stem for image in left.images]
    assert left.identity == gate_set(pictures).identity
    assert told == (
        "left out of the gate set: 5 training images of version 2 (00.png, 01.png, 02.png and 2 more);"
        " 1 training image of version 1 (35.png)"
    )


def test_too_few_images_that_are_left_are_an_error_with_a_way_out(tmp_path: Path, pictures: list[Path]) -> None:
    one, two = trained_on(tmp_path, 1, []), trained_on(tmp_path, 2, pictures[:10])
    with pytest.raises(TrackingError, match=r"dev has 10 training .* version 2 \(00.*; 26 of its 36 .* 30 .* --data"):
        without_training_images(gate_set(pictures), [two, one])
    assert len(without_training_images(gate_set(pictures), [two])[0].images) == 26  # a first champion


def test_a_captioner_that_does_not_state_its_images_is_compared_with_a_warning(
    tmp_path: Path, pictures: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        data, told = without_training_images(gate_set(pictures), [trained_on(tmp_path, 3, None)])
    assert (data, told) == (gate_set(pictures), "")
    assert "version 3 does not state its training images" in caplog.text
    assert training_images(tmp_path / "3") is None
