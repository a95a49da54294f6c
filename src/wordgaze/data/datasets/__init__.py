"""Data sets with a common interface, :class:`wordgaze.data.datasets.base.DataSet`."""

from pathlib import Path

from wordgaze.config.params import DatasetParams, PrepareParams
from wordgaze.data.datasets.base import Collected, DataSet, Subset
from wordgaze.data.datasets.boxed import WithBoxes
from wordgaze.data.datasets.coco import Coco
from wordgaze.data.datasets.corrected import WithCorrections
from wordgaze.data.datasets.flickr8k import Flickr8k
from wordgaze.data.datasets.flickr30k import Flickr30k
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.datasets.scenes import Scenes


def open_dataset(params: DatasetParams, prepare: PrepareParams, cache: Path) -> DataSet:
    """The data set ``params.name``, restricted to the maximum numbers of images in ``params``.

    Downloads are stored in ``cache``. ``prepare`` has the shares of dev and test for a data set without official
    splits, which the maximum numbers per split require. The boxes of ``params.boxes`` and the images of
    ``params.corrections`` are added.
    """
    dataset = _named_dataset(params, prepare, cache)
    dataset = WithBoxes(dataset, params.boxes) if params.boxes else dataset
    return WithCorrections(dataset, params.corrections, cache, prepare) if params.corrections else dataset


def _named_dataset(params: DatasetParams, prepare: PrepareParams, cache: Path) -> DataSet:
    subset = subset_of(params, prepare)
    match params.name:
        case "scenes":
            drawn = params.scenes
            return _ScenesSubset(Scenes(drawn.num_images, drawn.image_size, drawn.seed, drawn.language), subset)
        case "flickr8k":
            return Flickr8k(params.source, cache, params.karpathy, subset)
        case "flickr30k":
            return Flickr30k(params.source, cache, params.karpathy, subset)
        case "coco":
            return Coco(params.source, cache, params.karpathy, subset)
        case "folder":
            return Folder(params.source, params.captions, cache, subset, params.image_column, params.caption_column)


def subset_of(params: DatasetParams, prepare: PrepareParams) -> Subset:
    """The maximum numbers of images in ``params``, with the shares by which images without a split are split."""
    return Subset(
        params.max_train_images, params.max_dev_images, params.max_test_images, prepare.dev_share, prepare.test_share
    )


class _ScenesSubset:
    """Scenes of which all are drawn and those outside the subset are deleted."""

    name = "scenes"

    def __init__(self, scenes: Scenes, subset: Subset) -> None:
        self._scenes, self._subset = scenes, subset

    def collect(self, folder: Path) -> Collected:
        records = self._scenes.collect(folder).records
        names = {record.image for record in records}
        selected = self._subset.select(records, names)
        for name in names - {record.image for record in selected}:
            (folder / "images" / name).unlink()
        return Collected(selected)
