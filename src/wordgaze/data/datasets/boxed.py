"""A data set with the boxes of objects from a file of its user."""

import logging
from dataclasses import replace
from pathlib import Path, PurePosixPath

from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.printable import count_noun
from wordgaze.data.datasets.base import Collected, DataSet
from wordgaze.data.readers.boxes import boxes_of_path

_log = logging.getLogger(__name__)


class WithBoxes:
    """``dataset``, whose images have the boxes of ``boxes``: COCO's instances JSON or the folder of Flickr30k Entities.

    Boxes are found by the file names of the images, and are in pixels of these images.
    """

    def __init__(self, dataset: DataSet, boxes: str) -> None:
        self.name, self._dataset, self._boxes = dataset.name, dataset, paths.home() / boxes

    def collect(self, folder: Path) -> Collected:
        """As the data set, with the boxes. Raises DataError if the file is broken or has no box of any image."""
        boxes = boxes_of_path(self._boxes)  # before the images, which take longer
        collected = self._dataset.collect(folder)
        records = [
            replace(record, objects=boxes.get(PurePosixPath(record.image).name, record.objects))
            for record in collected.records
        ]
        number = sum(bool(record.objects) for record in records)
        if not number:
            raise DataError(
                f"dataset.boxes: {self._boxes} has no boxes of these images, which are found by their file names; give"
                " the file of this data set, or clear dataset.boxes"
            )
        _log.info("boxes of objects in %d of %s", number, count_noun(len(records), "image"))
        return collected._replace(records=records)
