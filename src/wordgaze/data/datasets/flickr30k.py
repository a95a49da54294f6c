"""Flickr30k: 31,783 photographs with five captions each (Young, Lai, Hodosh, Hockenmaier 2014).

It has no official splits, and circulates in two layouts: the authors' ``results_20130124.token`` with
``flickr30k-images/``, and ``results.csv`` with ``flickr30k_images/``, nested up to three deep.
"""

import logging
import re
from pathlib import Path

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.data.datasets.base import ALL, Choice, gather, karpathy_records
from wordgaze.data.datasets.source import Found, Source, by_name, is_picture
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
"""What an address of the web is asked for; in a folder archives may have any name."""

_HEADER = ["image_name", "comment_number", "comment"]
# name | number | caption, of which either bar may have been lost
_ROW = re.compile(r"\s*([^|]+?\.\w+)(?:\s*(\|)\s*|\s+)(\d+)(?:\s*(\|)\s*|\s+)(.*?)\s*")

_log = logging.getLogger(__name__)


class Flickr30k:
    """Flickr30k from a folder or an address (``http(s)://``, ``file://``), unpacked or in archives.

    With ``karpathy``, the address of ``dataset_flickr30k.json``, captions and splits are Karpathy's; else the splits
    are left to ``prepare``. Raises DownloadError on an empty ``source``: there is no public address.
    """

    name = "flickr30k"

    def __init__(self, source: str, cache: Path, karpathy: str = "", choice: Choice = ALL) -> None:
        if not source:
            raise DownloadError(
                "flickr30k has no public address: ask for it at https://shannon.cs.illinois.edu/DenotationGraph/, put "
                f"flickr30k-images.tar.gz and flickr30k.tar.gz (or {TABLE} and flickr30k_images/) in a folder, and "
                "set dataset.source to the folder"
            )
        self._source = Source(source, cache, (TOKENS, TABLE, *ARCHIVES))
        self._cache, self._karpathy, self._choice = cache, karpathy, choice

    def collect(self, folder: Path) -> list[Record]:
        """All pictures, sorted by name, with the pictures in ``folder/images``.

        Raises DownloadError where captions or pictures are not there, CaptionsError where a line is broken. Rows
        of ``results.csv`` that have lost a bar are mended, and their number is logged.
        """
        if self._karpathy:
            records = karpathy_records(self._karpathy, self.name, self._cache)
        else:
            captions = self._captions()
            records = [Record(name, tuple(captions[name])) for name in sorted(captions)]
        pictures = by_name(self._source.find(lambda path: is_picture(path) and path.suffix.lower() == ".jpg"))
        if not pictures:
            raise DownloadError(f"{self._source.address} holds no *.jpg, nor does an archive there; add the pictures")
        return gather(self._source, records, pictures, self._choice, folder)

    def _captions(self) -> dict[str, list[str]]:
        for name, read in ((TOKENS, _from_tokens), (TABLE, _from_table)):
            if found := self._source.find(lambda path, name=name: path.name == name):  # type: ignore[misc]
                return read(found[0])
        raise DownloadError(f"{self._source.address} holds neither {TOKENS} nor {TABLE}, nor does an archive there")


def _from_tokens(file: Found) -> dict[str, list[str]]:
    return read_references(file.label, data=file.read())


def _from_table(file: Found) -> dict[str, list[str]]:
    """Not with a reader of tables: captions hold quotes, and some rows have lost a bar."""
    header, *lines = decoded(file.label, file.read()).split("\n")
    if [column.strip() for column in header.split("|")] != _HEADER:
        raise CaptionsError(f"{file.label} does not begin with {'| '.join(_HEADER)}; get the original")
    captions: dict[str, list[str]] = {}
    mended = 0
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        match = _ROW.fullmatch(line)
        if match is None:
            raise CaptionsError(
                f"{file.label}:{number} is not 'name.jpg| number| caption': {line[:80]!r}; mend the row"
            )
        name, first, _, second, caption = match.groups()
        mended += first is None or second is None
        captions.setdefault(name, []).append(caption)
    if mended:
        _log.info("flickr30k: %d rows of %s had lost a | and were mended", mended, file.label)
    return captions
