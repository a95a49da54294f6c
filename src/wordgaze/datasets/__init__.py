"""Data sets behind one interface: each gives pictures and records (:class:`wordgaze.datasets.base.DataSet`)."""

from collections.abc import Callable
from pathlib import Path

from wordgaze.datasets.base import DataSet
from wordgaze.datasets.flickr8k import Flickr8k
from wordgaze.datasets.scenes import Scenes
from wordgaze.params import DatasetParams

_OPEN: dict[str, Callable[[DatasetParams, Path], DataSet]] = {
    "scenes": lambda p, _: Scenes(p.scenes.pictures, p.scenes.size, p.scenes.seed),
    "flickr8k": lambda p, cache: Flickr8k(p.source, cache),
}


def open_dataset(params: DatasetParams, cache: Path) -> DataSet:
    """The data set that ``params.name`` names. Downloads are kept in ``cache``."""
    return _OPEN[params.name](params, cache)
