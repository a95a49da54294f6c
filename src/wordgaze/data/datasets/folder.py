"""Your own images: a folder of them with a caption file in any format that ``wordgaze score`` reads."""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.core.files import fingerprint
from wordgaze.data.datasets.base import ALL, Collected, Subset, gather, split_of
from wordgaze.data.datasets.fetch import local_path
from wordgaze.data.datasets.source import Found, Source, is_picture
from wordgaze.data.readers.captions import ById, holds_captions, read_references
from wordgaze.data.records import Record

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".token", ".txt")

_LONGEST = 200  # bytes of a file name; most file systems allow 255, and suffixes are added
_SHOWN = 3

_log = logging.getLogger(__name__)


class Folder:
    """A local folder ``source`` with images, nested in any way, and a caption file.

    ``captions`` is the path of that file, absolute or relative to ``source``; "" if it is the only one there. It names
    images by their path in the folder or by their file name, and may have a column or key ``split``.
    """

    name = "folder"

    def __init__(self, source: str, captions: str, cache: Path, subset: Subset = ALL) -> None:
        if local_path(source) is None:
            raise DownloadError(f"dataset.source is {source}; the data set folder needs a local folder")
        self._source = Source(source, cache)
        self._named, self._subset = captions, subset

    def collect(self, folder: Path) -> Collected:
        """The selected records, sorted by image name. If there are several ``a.jpg``, ``sub/a.jpg`` becomes
        ``sub__a.jpg``.

        Images without captions are omitted, and their number is logged. Raises CaptionsError, which names file and
        row, if the captions cannot be used.
        """
        file = self._captions_file()
        references = read_references(file.label, data=file.read())
        records, pictures = matched_pictures(references, self._source, file.path.parent)
        return Collected(gather(self._source, records, pictures, self._subset, folder), references.faults)

    def _captions_file(self) -> Found:
        """The file of ``dataset.captions``, or the only candidate. Raises CaptionsError if there is none or several."""
        if self._named:
            path = Path(self._named).expanduser()
            if path.is_absolute():
                return Found(path.parent, PurePosixPath(path.name))
            found = self._source.find(lambda each: each == PurePosixPath(path.as_posix()))
            if not found:
                raise CaptionsError(f"dataset.captions is {self._named}, and {self._source.address} has no such file")
            return found[0]
        found = self._source.find(lambda each: each.suffix.lower() in TABLES)
        candidates = [file for file in found if file.path.suffix.lower() != ".txt" or holds_captions(file.read())]
        if len(candidates) != 1:
            shown = ", ".join(str(file.path) for file in candidates[:_SHOWN]) + ", …" * (len(candidates) > _SHOWN)
            what = f"{len(candidates)} possible caption files ({shown})" if shown else "no caption file"
            raise CaptionsError(f"{self._source.address} has {what}; set dataset.captions to the right one")
        return candidates[0]


def matched_pictures(
    references: ById[list[str]], source: Source, beside: PurePosixPath
) -> tuple[list[Record], dict[str, Found]]:
    """Records for the images that a caption file names, sorted by image name, and the files of these images.

    ``beside`` is the folder of the caption file in the source; paths may be relative to it. A name without an image
    remains a record, which the audit counts. Raises CaptionsError if a file name matches several images.
    """
    by_path = {file.path: file for file in source.find(is_picture)}
    by_file_name: dict[str, list[PurePosixPath]] = {}
    for path in by_path:
        by_file_name.setdefault(path.name, []).append(path)
    file_names = {key: name for name, key in references.names.items()}
    keys: dict[PurePosixPath, list[str]] = {}
    for key in references:
        name = PurePosixPath(file_names.get(key, key).replace("\\", "/"))
        matches = [path for path in (name, beside / name) if path in by_path] or by_file_name.get(str(name), [name])
        if len(set(matches)) > 1 and name not in by_path:
            several = " and ".join(map(str, matches[:_SHOWN]))
            raise CaptionsError(f"{references.places[key]}: {str(name)!r} matches {several}; write the path of one")
        keys.setdefault(matches[0], []).append(key)
    if left := len(by_path.keys() - keys.keys()):
        _log.info("%d of %d images in %s have no captions and are omitted", left, len(by_path), source.address)
    images = _flat_names(keys.keys())
    records = [
        Record(images[path], tuple(text for key in ids for text in references[key]), split_of(references, ids))
        for path, ids in keys.items()
    ]
    pictures = {images[path]: by_path[path] for path in keys if path in by_path}
    return sorted(records, key=lambda record: record.image), pictures


def _flat_names(paths: Collection[PurePosixPath]) -> dict[PurePosixPath, str]:
    """A unique name for each path: the file name, or ``a__b.jpg`` for ``a/b.jpg`` if the file name is not unique."""
    file_names = Counter(path.name for path in paths)
    flat = {path: path.name if file_names[path.name] == 1 else "__".join(path.parts) for path in paths}
    occurrences = Counter(flat.values())  # another file may be named a__b.jpg
    return {
        path: name
        if occurrences[name] == 1 and len(name.encode()) <= _LONGEST
        else fingerprint(str(path)) + path.suffix
        for path, name in flat.items()
    }
