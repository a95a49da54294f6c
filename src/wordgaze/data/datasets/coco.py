"""COCO captions, 2014 and 2017: 123,287 photographs with five captions each (Chen et al. 2015).

The images of both years are the same; 2014 names them ``COCO_val2014_000000391895.jpg``, 2017 ``000000391895.jpg``.
"""

from itertools import chain
from pathlib import Path, PurePosixPath

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import ALL, Collected, Subset, karpathy_records
from wordgaze.data.datasets.caption_files import read_captions_of
from wordgaze.data.datasets.folder import FolderContents, collect_contents, read_contents
from wordgaze.data.datasets.naming import pictures_by_name
from wordgaze.data.datasets.source import Found, Source, is_picture
from wordgaze.data.readers.captions import ById, read_references
from wordgaze.data.records import SPLITS, Record, Split, hash_fraction

PUBLIC = "https://s3.amazonaws.com/images.cocodataset.org"
"""The bucket behind ``http://images.cocodataset.org``, whose certificate does not cover that name."""
CHECKSUMS = {
    "annotations_trainval2017.zip": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    "train2017.zip": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    "val2017.zip": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
}
"""SHA-256 checksums of the public zips, as other libraries that load COCO publish them."""
_PUBLIC_NAMES = ("annotations/annotations_trainval2017.zip", "zips/train2017.zip", "zips/val2017.zip")
_ALIASES = ("http://images.cocodataset.org", "https://images.cocodataset.org")
_YEARS = ("2017", "2014")
_NAMES = tuple(f"{name}{year}.zip" for year in _YEARS for name in ("annotations_trainval", "train", "val"))


class Coco:
    """COCO from a folder or an address (``http(s)://``, ``file://``), unpacked or zipped; "" is the public address.

    The official train set is train. The official val set is divided into dev and test by the hash of the image name,
    because the captions of the official test set are not public. With ``karpathy``, the address of
    ``dataset_coco.json``, captions and splits are Karpathy's. A single caption file with its images has no splits;
    they are left to stage ``prepare``.
    """

    name = "coco"

    def __init__(self, source: str, cache: Path, karpathy: str = "", subset: Subset = ALL) -> None:
        address = source.rstrip("/") or PUBLIC
        if address in (PUBLIC, *_ALIASES):
            self._source = Source(PUBLIC, cache, _PUBLIC_NAMES, pinned=CHECKSUMS)
        else:
            self._source = Source(address, cache, _NAMES)
        self._cache, self._karpathy, self._subset = cache, karpathy, subset

    def collect(self, folder: Path) -> Collected:
        """The selected records, sorted by image name. Raises as :meth:`read`, and DownloadError if none is there."""
        return collect_contents(self.read(), self._source, self._subset, folder)

    def read(self) -> FolderContents:
        """The records, sorted by image name, and their images, without a copy.

        Raises DownloadError if captions or images are missing, and CaptionsError if a caption file is broken or train
        and val share an image.
        """
        if self._karpathy:
            records = karpathy_records(self._karpathy, self.name, self._cache)
        elif parts := self._parts():
            records = _official(*parts)
        else:
            captions = read_captions_of(self._source, str(self._single().path))
            return read_contents(captions, self._source)
        return FolderContents(records, self._found(records))

    def _found(self, records: list[Record]) -> dict[str, Found]:
        """The pictures of the records. Raises DownloadError if a split has none."""
        found = pictures_by_name((record.image for record in records), self._pictures())
        for split in SPLITS:
            if (named := [r.image for r in records if r.split == split]) and not found.keys() & set(named):
                raise DownloadError(
                    f"{self._source.address} has no image of {split}; put train2017.zip and val2017.zip, or the "
                    "folders train2017/ and val2017/, beside the captions (or those of 2014)"
                )
        return found

    def _parts(self) -> list[Found]:
        """The caption files of train and val of one year; empty if one of them is missing."""
        for year in _YEARS:
            found = [self._first(f"captions_{part}{year}.json") for part in ("train", "val")]
            both = [file for file in found if file is not None]
            if len(both) == len(found):
                return both
        return []

    def _single(self) -> Found:
        found = self._source.find(
            lambda path: path.name.lower().startswith("captions") and path.suffix.lower() == ".json"
        )
        if len(found) != 1:
            shown = f"{len(found)} files captions*.json" if found else "no captions*.json"
            raise DownloadError(
                f"{self._source.address} holds {shown}; put captions_train2017.json and captions_val2017.json there, "
                "or annotations_trainval2017.zip (or those of 2014), or a single caption file with its images"
            )
        return found[0]

    def _first(self, name: str) -> Found | None:
        return next(iter(self._source.find(lambda path: path.name.lower() == name)), None)

    def _pictures(self) -> list[Found]:
        def of(folder: str) -> list[Found]:
            return self._source.find(lambda path: is_picture(path) and path.parent.name.lower() == folder)

        parts = [next(filter(None, (of(part + year) for year in _YEARS)), []) for part in ("train", "val")]
        return list(chain(*parts)) or self._source.find(is_picture)


def _official(train: Found, val: Found) -> list[Record]:
    """The records of train, and those of val in two halves."""
    trained, others = _captions(train), _captions(val)
    if both := sorted(trained.keys() & others.keys()):
        raise CaptionsError(f"{val.label}: {both[0]!r} is in {train.path.name} too; download the original files")
    ordered = sorted(others, key=hash_fraction)
    splits: dict[str, Split] = dict.fromkeys(trained, "train")
    splits |= {name: "test" if place % 2 else "dev" for place, name in enumerate(ordered)}
    captions = trained | others
    return [Record(name, captions[name], splits[name]) for name in sorted(captions)]


def _captions(file: Found) -> dict[str, tuple[str, ...]]:
    """Captions by image name. Raises CaptionsError if an image with captions has no name."""
    references: ById[list[str]] = read_references(file.label, data=file.read())
    names = {key: PurePosixPath(name).name for name, key in references.names.items()}
    unnamed = next((key for key in references if key not in names), None)
    if unnamed is not None:
        raise CaptionsError(f"{references.places[unnamed]}: no image has the id {unnamed}; download the original file")
    return {names[key]: tuple(captions) for key, captions in references.items()}
