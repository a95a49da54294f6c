"""``wordgaze select``: the images that are worth captioning by hand next.

Active learning in a batch: images of which the captioner is unsure, unlike each other. Each choice maximises the
uncertainty of an image times its distance from the nearest image that is chosen already (greedy k-center, Gonzalez
1985, weighted as in Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds").
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256
from wordgaze.inference.captioner import Captioner
from wordgaze.inspection.observations import Observations, observe_pictures
from wordgaze.metrics.base import Floats
from wordgaze.vision.image_files import find_images

_MIN_UNCERTAINTY = 1e-3  # a captioner that is sure of everything still gets different images


@dataclass(frozen=True)
class SelectedPicture:
    """An image to caption. ``distance``, 0…2, is that from the nearest image chosen before it; None for the first."""

    rank: int
    path: str
    checksum: str
    caption: str
    confidence: float
    distance: float | None

    def to_json(self) -> dict[str, Any]:
        """The values for JSON."""
        return asdict(self)


def select_pictures(
    captioner: Captioner, folder: Path, number: int, known: frozenset[str] = frozenset()
) -> list[SelectedPicture]:
    """At most ``number`` images of a folder, the most useful first; of equal files one is taken.

    ``known`` are the SHA-256 of images that people have captioned already. The choice does not depend on the order in
    which the folder is listed. Raises ImageError for a folder without images, DataError if no image is left.
    """
    files: dict[str, Path] = {}
    for path in sorted(find_images([folder])):
        if path.is_file():
            files.setdefault(sha256(path), path)
    paths = sorted(path for checksum, path in files.items() if checksum not in known)
    checksums = {path: checksum for checksum, path in files.items()}
    observed = observe_pictures(captioner, paths)
    if not observed.captions:
        raise DataError(f"{folder} has no image left to caption: {len(files)} files, {len(observed.unread)} unreadable")
    by_name = {str(path): path for path in paths}
    chosen = choose_diverse(_directions(observed), 1 - np.array(observed.confidence), number)
    return [
        SelectedPicture(
            rank, observed.names[place], checksums[by_name[observed.names[place]]], observed.captions[place],
            observed.confidence[place], distance,
        )
        for rank, (place, distance) in enumerate(chosen, start=1)
    ]  # fmt: skip


def _directions(observed: Observations) -> Floats:
    """The coordinates of the images, of length 1."""
    assert observed.embeddings is not None
    coordinates = observed.embeddings[:, :-1]
    return np.asarray(coordinates / np.maximum(np.linalg.norm(coordinates, axis=1, keepdims=True), 1e-12))


def choose_diverse(embeddings: Floats, uncertainty: Floats, number: int) -> list[tuple[int, float | None]]:
    """The places of at most ``number`` rows, each once, with the distance from the nearest one chosen before.

    ``embeddings`` (N, K), ``uncertainty`` (N,) in 0…1. Of equally good rows the first is taken.
    """
    weight = np.maximum(uncertainty, _MIN_UNCERTAINTY)
    open_rows = np.ones(len(weight), dtype=bool)
    nearest = np.full(len(weight), np.inf)
    chosen: list[tuple[int, float | None]] = []
    while len(chosen) < min(number, len(weight)):
        score = weight * nearest if chosen else weight
        place = int(np.argmax(np.where(open_rows, score, -1.0)))
        chosen.append((place, float(nearest[place]) if chosen else None))
        open_rows[place] = False
        nearest = np.minimum(nearest, np.linalg.norm(embeddings - embeddings[place], axis=1))
    return chosen
