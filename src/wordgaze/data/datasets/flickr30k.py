"""Flickr30k: 31,783 photographs with five captions each (Young, Lai, Hodosh, Hockenmaier 2014).

It has no official splits and is distributed in two layouts: the authors' ``results_20130124.token`` with
``flickr30k-images/``, and ``results.csv`` with ``flickr30k_images/``, nested up to three deep.
"""

import logging
import re
from pathlib import Path

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import ALL, Collected, Subset, karpathy_records
from wordgaze.data.datasets.folder import FolderContents, collect_contents
from wordgaze.data.datasets.naming import pictures_by_name
from wordgaze.data.datasets.source import Found, Source, is_picture
from wordgaze.data.readers.captions import decoded, read_references
from wordgaze.data.records import Record

TOKENS = "results_20130124.token"
TABLE = "results.csv"
ARCHIVES = (
    "flickr30k.tar.gz",
    "flickr30k-images.tar.gz",
    "flickr30k-images.tar",
    "flickr30k_images.zip",
    "archive.zip",
)
"""The archives that are requested at an address; in a folder archives may have any name."""

_HEADER = ["image_name", "comment_number", "comment"]
# name | number | caption; in some rows one of the bars is missing
_ROW = re.compile(r"\s*([^|]+?\.\w+)(?:\s*(\|)\s*|\s+)(\d+)(?:\s*(\|)\s*|\s+)(.*?)\s*")

_log = logging.getLogger(__name__)


class Flickr30k:
    """Flickr30k from a folder or an address (``http(s)://``, ``file://``), unpacked or in archives.

    With ``karpathy``, the address of ``dataset_flickr30k.json``, captions and splits are Karpathy's; otherwise
    splits are left to stage ``prepare``. Raises DownloadError for an empty ``source``: there is no public address.
    """

    name = "flickr30k"

    def __init__(self, source: str, cache: Path, karpathy: str = "", subset: Subset = ALL) -> None:
        if not source:
            raise DownloadError(
                "flickr30k has no public address: request it at https://shannon.cs.illinois.edu/DenotationGraph/, put "
                f"flickr30k-images.tar.gz and flickr30k.tar.gz (or {TABLE} and flickr30k_images/) in a folder, and "
                "set dataset.source to the folder"
            )
        self._source = Source(source, cache, (TOKENS, TABLE, *ARCHIVES))
        self._cache, self._karpathy, self._subset = cache, karpathy, subset

    def collect(self, folder: Path) -> Collected:
        """The selected records, sorted by image name. Raises as :meth:`read`, and DownloadError if none is there."""
        return collect_contents(self.read(), self._source, self._subset, folder)

    def read(self) -> FolderContents:
        """The records, sorted by image name, and their images, without a copy.

        Raises DownloadError if captions or images are missing, and CaptionsError if a line is broken. Rows of
        ``results.csv`` without one of their bars are repaired, and their number is logged.
        """
        if self._karpathy:
            records = karpathy_records(self._karpathy, self.name, self._cache)
        else:
            captions = self._captions()
            records = [Record(name, tuple(captions[name])) for name in sorted(captions)]
        files = self._source.find(is_picture)
        if not files:
            raise DownloadError(f"{self._source.address} has no *.jpg, neither loose nor in an archive; add the images")
        return FolderContents(records, pictures_by_name((record.image for record in records), files))

    def _captions(self) -> dict[str, list[str]]:
        for name, read in ((TOKENS, _from_tokens), (TABLE, _from_table)):
            if found := self._source.find(lambda path, name=name: path.name.lower() == name):  # type: ignore[misc]
                return read(found[0])
        raise DownloadError(f"{self._source.address} has neither {TOKENS} nor {TABLE}, neither loose nor in an archive")


def _from_tokens(file: Found) -> dict[str, list[str]]:
    return read_references(file.label, data=file.read())


def _from_table(file: Found) -> dict[str, list[str]]:
    """Reads ``results.csv`` without the csv module: captions contain quotes, and some rows lack a bar."""
    header, *lines = decoded(file.label, file.read()).split("\n")
    if [column.strip() for column in header.split("|")] != _HEADER:
        raise CaptionsError(f"{file.label} does not begin with {'| '.join(_HEADER)}; download the original")
    captions: dict[str, list[str]] = {}
    repaired = 0
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        match = _ROW.fullmatch(line)
        if match is None:
            raise CaptionsError(
                f"{file.label}:{number} is not 'name.jpg| number| caption': {line[:80]!r}; correct the row"
            )
        name, first, _, second, caption = match.groups()
        repaired += first is None or second is None
        captions.setdefault(name, []).append(caption)
    if repaired:
        _log.info("flickr30k: repaired %d rows of %s that lack a |", repaired, file.label)
    return captions
