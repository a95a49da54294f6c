"""The conformance set of an exported captioner: images, and the captions that every runtime must give them.

    conformance/conformance.json   a :class:`ConformanceSet`
    conformance/NAME.png           the images

PyTorch writes the captions when the captioner is exported. A runner captions the images by another runtime, and
:func:`run_conformance` sets the two side by side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from wordgaze.core.errors import DataError
from wordgaze.core.files import write_json
from wordgaze.core.settings import problems_of
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.exported_folder import EXPORT_AGAIN, ExportedDtype
from wordgaze.vision.decoding_process import decode_safely

CONFORMANCE_FOLDER, CONFORMANCE_FILE = "conformance", "conformance.json"
TOLERANCES: Mapping[ExportedDtype, float] = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.5}
"""How far a log-probability may be from that of PyTorch, for each way to store the weights."""

SETTINGS = {
    "greedy": GenerationConfig(strategy="greedy"),
    "beam": GenerationConfig(strategy="beam", num_beams=5),
}

Runner = Callable[[Image.Image, GenerationConfig], Caption]
"""Captions an image by some runtime."""


class ExpectedCaption(BaseModel):
    """The best caption of an image: its T words, their log-probabilities, and that of the caption with its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: tuple[str, ...]
    log_prob: float
    word_log_probs: tuple[float, ...]


class ConformanceImage(BaseModel):
    """An image and its captions by the name of their settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    captions: dict[str, ExpectedCaption]


class ConformanceSet(BaseModel):
    """The contents of conformance.json. ``tolerance`` is the largest difference of a log-probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: float
    settings: dict[str, GenerationConfig]
    images: tuple[ConformanceImage, ...]


class ConformanceResult(BaseModel):
    """What a runtime gives an image with a setting, beside what is expected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    setting: str
    expected: ExpectedCaption
    actual: ExpectedCaption

    @property
    def same_words(self) -> bool:
        """Whether the words are the same."""
        return self.expected.words == self.actual.words

    @property
    def deviation(self) -> float:
        """The largest difference of a log-probability, of a word or of the caption; 0 for other words."""
        pairs = zip(self.expected.word_log_probs, self.actual.word_log_probs, strict=False)
        largest = max((abs(a - b) for a, b in pairs), default=0.0)
        return max(largest, abs(self.expected.log_prob - self.actual.log_prob)) if self.same_words else 0.0


def write_conformance(
    folder: Path, images: Sequence[tuple[str, Image.Image]], side: int, tolerance: float, run: Runner
) -> None:
    """Writes a set into ``folder``: the named RGB images, not much larger than the ``side`` of the captioner's input,
    and their captions by ``run``."""
    folder.mkdir()
    entries = []
    for name, image in images:
        small = image.copy()
        ratio = 1.25 * side / min(image.size)
        if ratio < 1:
            small.thumbnail((round(image.width * ratio), round(image.height * ratio)))
        small.save(folder / f"{name}.png")
        captions = {key: expected_caption(run(small, config)) for key, config in SETTINGS.items()}
        entries.append(ConformanceImage(file=f"{name}.png", captions=captions))
    found = ConformanceSet(tolerance=tolerance, settings=SETTINGS, images=tuple(entries))
    write_json(folder / CONFORMANCE_FILE, found.model_dump(mode="json"))


def read_conformance(folder: Path) -> ConformanceSet:
    """The set in a folder. Raises DataError if there is none or it is broken."""
    path = folder / CONFORMANCE_FILE
    try:
        return ConformanceSet.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {EXPORT_AGAIN}") from error
    except ValidationError as error:
        raise DataError(f"{path} is not a conformance set ({problems_of(error)}); {EXPORT_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); {EXPORT_AGAIN}") from error


def run_conformance(folder: Path, run: Runner) -> Iterator[ConformanceResult]:
    """What ``run`` gives each image of the set with each setting, beside what is expected. Raises DataError."""
    conformance = read_conformance(folder)
    for entry in conformance.images:
        image = decode_safely(folder / entry.file)
        for key, expected in entry.captions.items():
            actual = expected_caption(run(image, conformance.settings[key]))
            yield ConformanceResult(file=entry.file, setting=key, expected=expected, actual=actual)


def expected_caption(caption: Caption) -> ExpectedCaption:
    """What is stored of a caption."""
    return ExpectedCaption(words=caption.words, log_prob=caption.log_prob, word_log_probs=caption.word_log_probs)
