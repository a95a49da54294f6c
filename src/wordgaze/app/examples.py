"""Example pictures: from the present data set, else scenes that wordgaze draws."""

from collections.abc import Sequence
from pathlib import Path

from wordgaze.core import paths
from wordgaze.core.errors import ImageError
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.vision.image_files import find_images

NUM_PICTURES = 6
SIZE = 448  # pixels of a drawn scene


def example_pictures(folder: Path) -> Sequence[Path]:
    """Paths of :data:`NUM_PICTURES` pictures; drawn ones are written to ``folder``."""
    try:
        found = find_images([paths.RAW / "images"])
    except ImageError:
        Scenes(2 * NUM_PICTURES, SIZE, seed=7).collect(folder)
        found = find_images([folder / "images"])
    step = max(1, len(found) // NUM_PICTURES)
    return found[step - 1 :: step][:NUM_PICTURES]
