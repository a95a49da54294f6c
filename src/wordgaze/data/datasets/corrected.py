"""A data set with the captions that people corrected in use: they are added to its training images."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wordgaze.config.params import PrepareParams
from wordgaze.core import paths
from wordgaze.core.errors import DataError
from wordgaze.core.files import sha256
from wordgaze.data.datasets.base import Collected, DataSet
from wordgaze.data.datasets.folder import Folder
from wordgaze.data.records import Record, assign_splits

_log = logging.getLogger(__name__)


class WithCorrections:
    """``dataset`` and the images of ``corrections``, a folder of ``wordgaze corrections export``.

    A corrected image is a training image. One that the data set has already gives its captions to that image; those of
    dev and test are left out, so that no split changes and scores stay comparable.
    """

    def __init__(self, dataset: DataSet, corrections: str, cache: Path, prepare: PrepareParams) -> None:
        self.name, self._dataset, self._prepare = dataset.name, dataset, prepare
        self._source = paths.home() / corrections
        self._corrections = Folder(str(self._source), "captions.csv", cache)

    def collect(self, folder: Path) -> Collected:
        """As the data set, with the corrections. Raises DataError if the folder of the corrections is missing."""
        if not self._source.is_dir():
            raise DataError(
                f"dataset.corrections: {self._source} is not a folder; write it by wordgaze corrections export, or"
                " clear dataset.corrections"
            )
        base = self._dataset.collect(folder)
        extra = folder / "corrections"
        try:
            corrected = self._corrections.collect(extra)
            records = self._merged(base.records, corrected.records, folder / "images", extra / "images")
        finally:
            shutil.rmtree(extra, ignore_errors=True)
        return Collected(records, [*base.faults, *corrected.faults], base.advice)

    def _merged(self, records: list[Record], corrected: list[Record], images: Path, extra: Path) -> list[Record]:
        splits = {each.image: each.split for each in self._split(records)}
        by_image = {each.image: each for each in records}
        owners = _owners(images, by_image, {(extra / each.image).stat().st_size for each in corrected})
        added, held_out = 0, 0
        for each in corrected:
            owner = owners.get(sha256(extra / each.image))
            if owner is None:
                name = f"corrected-{each.image}"
                (extra / each.image).rename(images / name)
                by_image[name] = replace(each, image=name, split="train")
                added += 1
            elif splits[owner] == "train":
                old = by_image[owner]
                by_image[owner] = replace(old, captions=tuple(dict.fromkeys([*old.captions, *each.captions])))
            else:
                held_out += 1
        _log.info(
            "corrections: %d images added to train, %d of dev or test left out, the others are in train",
            added, held_out,
        )  # fmt: skip
        return list(by_image.values())

    def _split(self, records: list[Record]) -> list[Record]:
        """The splits that ``prepare`` will give to the images of the data set."""
        return assign_splits(records, self._prepare.dev_share, self._prepare.test_share)


def _owners(images: Path, records: Mapping[str, Record], sizes: set[int]) -> dict[str, str]:
    """The image of each checksum; only files of these sizes are read."""
    files = ((name, images / name) for name in sorted(records) if (images / name).is_file())
    return {sha256(path): name for name, path in files if path.stat().st_size in sizes}
