"""The records and image files of a data set, read where they are, without a copy of the images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from wordgaze.config.params import Params
from wordgaze.core.leftovers import temporary_folder
from wordgaze.data.datasets import open_dataset
from wordgaze.data.datasets.coco import Coco
from wordgaze.data.datasets.flickr8k import Flickr8k
from wordgaze.data.datasets.flickr30k import Flickr30k
from wordgaze.data.datasets.folder import Folder, FolderContents
from wordgaze.data.datasets.source import Found


@contextmanager
def open_contents(params: Params, cache: Path) -> Iterator[FolderContents]:
    """What the import of the data set of ``params`` starts from, as long as the block runs.

    Downloads are stored in ``cache``; images that are drawn are drawn into a temporary folder. Raises DataError as the
    import does.
    """
    dataset = open_dataset(params.dataset, params.prepare, cache)
    if isinstance(dataset, Folder | Flickr8k | Flickr30k | Coco):
        yield dataset.read()
        return
    with temporary_folder() as folder:
        collected = dataset.collect(folder)
        names = sorted(path.name for path in (folder / "images").iterdir())
        pictures = {name: Found(folder / "images", PurePosixPath(name)) for name in names}
        yield FolderContents(collected.records, pictures, list(collected.faults))
