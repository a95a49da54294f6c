"""Data sets behind one interface: each gives pictures and records (:class:`wordgaze.data.datasets.base.DataSet`)."""

from pathlib import Path

from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.data.datasets.base import Choice, DataSet
from wordgaze.data.datasets.coco import Coco
from wordgaze.data.datasets.flickr8k import Flickr8k
from wordgaze.data.datasets.flickr30k import Flickr30k
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.records import Record


def open_dataset(params: DatasetParams, prepare: PrepareParams, cache: Path) -> DataSet:
    """The data set that ``params.name`` names, or so many of its pictures as ``params`` asks for.

    Downloads are kept in ``cache``. ``prepare`` tells how to split what has no official splits, where so many
    pictures of a split are asked for.
    """
    choice = Choice(
        params.max_train_images, params.max_dev_images, params.max_test_images, prepare.dev_share, prepare.test_share
    )
    match params.name:
        case "scenes":
            return _SomeScenes(Scenes(params.scenes.num_images, params.scenes.image_size, params.scenes.seed), choice)
        case "flickr8k":
            return Flickr8k(params.source, cache, params.karpathy, choice)
        case "flickr30k":
            return Flickr30k(params.source, cache, params.karpathy, choice)
        case "coco":
            return Coco(params.source, cache, params.karpathy, choice)
        case "folder":
            return Folder(params.source, params.captions, cache, choice)


class _SomeScenes:
    """Scenes, of which those that are not chosen are drawn and deleted again."""

    name = "scenes"

    def __init__(self, scenes: Scenes, choice: Choice) -> None:
        self._scenes, self._choice = scenes, choice

    def collect(self, folder: Path) -> list[Record]:
        records = self._scenes.collect(folder)
        names = {record.image for record in records}
        chosen = self._choice.of(records, names)
        for name in names - {record.image for record in chosen}:
            (folder / "images" / name).unlink()
        return chosen
