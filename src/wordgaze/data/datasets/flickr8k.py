"""Flickr8k: 8,000 photographs with five captions each, in three official splits (Hodosh, Young, Hockenmaier 2013)."""

import logging
from collections.abc import Collection
from pathlib import Path

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import ALL, Collected, Subset, karpathy_records
from wordgaze.data.datasets.folder import FolderContents, collect_contents
from wordgaze.data.datasets.naming import pictures_by_name
from wordgaze.data.datasets.source import Found, Source, by_name, is_picture
from wordgaze.data.readers.captions import decoded, read_references
from wordgaze.data.records import Record, Split

PUBLIC = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
IMAGES_ZIP = "Flickr8k_Dataset.zip"
TEXT_ZIP = "Flickr8k_text.zip"
CHECKSUMS = {TEXT_ZIP: "bf6c1abcb8e4a833b7f922104de18627", IMAGES_ZIP: "f18a1e2920de5bd84dae7cf08ec78978"}
"""MD5 checksums of the public zips, as other libraries that load Flickr8k from there publish them."""

_TOKENS = "Flickr8k.token.txt"
_TOKENS_SIZE = 3_395_237  # bytes of the original; copies with edited captions exist
_SPLIT_LISTS: dict[str, Split] = {
    "Flickr_8k.trainImages.txt": "train",
    "Flickr_8k.devImages.txt": "dev",
    "Flickr_8k.testImages.txt": "test",
}
FOLDER = "Flicker8k_Dataset"
_FOLDERS = (FOLDER.lower(), "flickr8k_dataset", "images")  # the spelling of the original, and those of mirrors

_log = logging.getLogger(__name__)


class Flickr8k:
    """Flickr8k from its two zips, or unpacked.

    ``source`` is a folder or an address (``http(s)://``, ``file://``) with both zips, or "" for the public copy, whose
    checksums are pinned. If ``source`` has a ``SHA256SUMS``, the zips are verified by it. Downloads are stored in
    ``cache``. With ``karpathy``, the address of ``dataset_flickr8k.json``, captions and splits are Karpathy's.
    """

    name = "flickr8k"

    def __init__(self, source: str, cache: Path, karpathy: str = "", subset: Subset = ALL) -> None:
        address = source.rstrip("/") or PUBLIC
        self._source = Source(address, cache, (TEXT_ZIP, IMAGES_ZIP), pinned=CHECKSUMS if address == PUBLIC else None)
        self._cache, self._karpathy, self._subset = cache, karpathy, subset

    def collect(self, folder: Path) -> Collected:
        """The selected records, sorted by image name. Raises as :meth:`read`, and DownloadError if none is there."""
        return collect_contents(self.read(), self._source, self._subset, folder)

    def read(self) -> FolderContents:
        """The records of the official splits, sorted by image name, and their images, without a copy.

        Captioned images outside the official lists are omitted, and their number is logged. Captions without an image
        remain as records, which the audit counts. Raises DownloadError if a zip cannot be fetched or lacks a file, and
        CaptionsError if a line of the captions or of a list is broken.
        """
        files = self._source.find(lambda path: path.parent.name.lower() in _FOLDERS and is_picture(path))
        files = files or self._source.find(is_picture)
        if not files:
            raise DownloadError(f"{self._source.address} has no {FOLDER}/*.jpg; download the original zip")
        if self._karpathy:
            records = karpathy_records(self._karpathy, self.name, self._cache)
        else:
            records = self._official(by_name(files).keys())
        return FolderContents(records, pictures_by_name((record.image for record in records), files))

    def _official(self, available: Collection[str]) -> list[Record]:
        tokens = self._file(_TOKENS)
        data = tokens.read()
        if len(data) != _TOKENS_SIZE:
            _log.warning(
                "%s has %d bytes, the original %d: scores will not be comparable with published ones",
                tokens.label, len(data), _TOKENS_SIZE,
            )  # fmt: skip
        captions = read_references(tokens.label, data=data)
        splits = self._splits()
        outside = (captions.keys() - splits.keys()) & set(available)
        if outside:
            _log.info("flickr8k: omitted %d images that are in no official split", len(outside))
        names = sorted((captions.keys() | splits.keys()) - outside)
        return [Record(name, tuple(captions.get(name, ())), splits.get(name)) for name in names]

    def _splits(self) -> dict[str, Split]:
        splits: dict[str, Split] = {}
        for name, split in _SPLIT_LISTS.items():
            file = self._file(name)
            for number, line in enumerate(decoded(file.label, file.read()).split("\n"), start=1):
                image = line.strip()
                if image and splits.setdefault(image, split) != split:
                    raise CaptionsError(
                        f"{file.label}:{number}: {image!r} is in the {splits[image]} split too; remove it from one"
                    )
        return splits

    def _file(self, name: str) -> Found:
        found = self._source.find(lambda path: path.name.lower() == name.lower())
        if not found:
            raise DownloadError(
                f"{self._source.address} has no {name}, neither loose nor in {TEXT_ZIP}; download the original"
            )
        return found[0]
