"""The captions of the gate set by each captioner, decoded once and then kept; and the time and bytes of captioners."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.core.files import fingerprint, sha256, write_json
from wordgaze.core.progress import track
from wordgaze.core.scratch import writable_scratch
from wordgaze.core.source import code_fingerprint
from wordgaze.data.datasets.source import Found
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.encode_ahead import caption_ahead
from wordgaze.inference.folder_names import MODEL_CARD
from wordgaze.tracking.gate_data import GateData
from wordgaze.vision.images import load_image

_NUM_TIMED = 8  # images whose captioning is timed
_ROUNDS = 3  # of which the fastest counts: the load of the machine only ever adds time


@dataclass(frozen=True)
class Candidate:
    """A version of the registered model: its captioner folder, and the decoding settings that it ships with."""

    version: int
    folder: Path
    generation: GenerationConfig

    @cached_property
    def captioner(self) -> Captioner:
        """The loaded captioner. Raises ModelError."""
        return Captioner.load(self.folder)

    @property
    def num_bytes(self) -> int:
        """The bytes of all files of the captioner folder."""
        return sum(path.stat().st_size for path in self._files)

    @cached_property
    def checksum(self) -> str:
        """A fingerprint of the weights, the card and the tokenizer."""
        return fingerprint([[path.name, sha256(path)] for path in self._files])

    @property
    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file() and path.name != MODEL_CARD)


def gate_captions(candidate: Candidate, data: GateData) -> list[str]:
    """The best caption of each image of the gate set, by the settings that the captioner ships with.

    They are kept in the scratch folder under the checksum of all that decides them: weights, data, decoding settings
    and code. Raises ImageError for a picture that cannot be decoded.
    """
    path = _kept(candidate, data)
    kept = _read(path, len(data.images))
    if kept is None:
        kept = list(_captions(candidate, data))
        write_json(path, kept)
    return kept


def seconds_per_image(candidates: Sequence[Candidate], data: GateData) -> list[float]:
    """The time of captioning one image by each captioner; they take turns, so the machine is equally busy for all."""
    images = [_load(image) for image in data.images[:_NUM_TIMED]]
    fastest = [float("inf")] * len(candidates)
    for number in range(_ROUNDS + 1):  # the first round warms up
        for place, candidate in enumerate(candidates):
            start = time.perf_counter()
            candidate.captioner.caption(images, candidate.generation)
            if number:
                fastest[place] = min(fastest[place], time.perf_counter() - start)
    return [seconds / len(images) for seconds in fastest]


def _kept(candidate: Candidate, data: GateData) -> Path:
    import torch

    decoding = candidate.generation.model_dump(mode="json")
    code = [code_fingerprint("gate"), torch.__version__]  # no stage has this name: all code of the package
    return writable_scratch("gate") / f"{fingerprint(candidate.checksum, data.checksums, decoding, code)}.json"


def _captions(candidate: Candidate, data: GateData) -> Iterator[str]:
    sources = [partial(_load, image) for image in data.images]
    captioned = caption_ahead([candidate.captioner], sources, candidate.generation)
    for found in track(captioned, f"version {candidate.version} on the gate set", len(sources)):
        if found.error is not None:
            raise found.error
        yield found.captions[0].text


def _load(image: Found) -> Image.Image:
    try:
        return load_image(image.read() if image.packed else image.label)
    except OSError as error:
        raise DataError(f"{image.label} of the gate set cannot be read ({error.strerror}); run dvc checkout") from error


def _read(path: Path, num_images: int) -> list[str] | None:
    """Captions that were kept; None where there are none, or a file that is broken."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(kept, list) and len(kept) == num_images and all(isinstance(text, str) for text in kept)
    return kept if whole else None
