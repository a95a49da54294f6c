"""Anybody's own pictures: a folder of them, and a file of captions in any format that ``wordgaze score`` reads."""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.core.files import fingerprint
from wordgaze.data.datasets.base import ALL, Choice, gather, split_of
from wordgaze.data.datasets.fetch import local_path
from wordgaze.data.datasets.source import Found, Source, is_picture
from wordgaze.data.readers.captions import ById, holds_captions, read_references
from wordgaze.data.records import Record

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".token", ".txt")

_LONGEST = 200  # bytes of a file name; most file systems take 255, and others append to it
_SHOWN = 3

_log = logging.getLogger(__name__)


class Folder:
    """A local folder ``source`` with pictures, nested in any way, and a file of captions.

    ``captions`` is that file, absolute or relative to ``source``; empty where it is the only one there. It names
    pictures by their path in the folder or by their file name, and may tell their ``split``.
    """

    name = "folder"

    def __init__(self, source: str, captions: str, cache: Path, choice: Choice = ALL) -> None:
        if local_path(source) is None:
            raise DownloadError(f"dataset.source is {source}; the data set folder takes a folder on this machine")
        self._source = Source(source, cache)
        self._named, self._choice = captions, choice

    def collect(self, folder: Path) -> list[Record]:
        """The captioned pictures, sorted by name. Of several ``a.jpg``, ``sub/a.jpg`` becomes ``sub__a.jpg``.

        Pictures without captions are left out, and their number is logged. Raises CaptionsError, naming file and row,
        where the captions cannot be used.
        """
        file = self._captions_file()
        references = read_references(file.label, data=file.read())
        records, pictures = matched_pictures(references, self._source, file.path.parent)
        return gather(self._source, records, pictures, self._choice, folder)

    def _captions_file(self) -> Found:
        """The file that is named, else the only candidate. Raises CaptionsError where there is none."""
        if self._named:
            path = Path(self._named).expanduser()
            if path.is_absolute():
                return Found(path.parent, PurePosixPath(path.name))
            found = self._source.find(lambda each: each == PurePosixPath(path.as_posix()))
            if not found:
                raise CaptionsError(f"dataset.captions is {self._named}, and {self._source.address} holds no such file")
            return found[0]
        found = self._source.find(lambda each: each.suffix.lower() in TABLES)
        candidates = [file for file in found if file.path.suffix.lower() != ".txt" or holds_captions(file.read())]
        if len(candidates) != 1:
            shown = ", ".join(str(file.path) for file in candidates[:_SHOWN]) + ", …" * (len(candidates) > _SHOWN)
            what = f"{len(candidates)} files that may hold the captions ({shown})" if shown else "no file of captions"
            raise CaptionsError(f"{self._source.address} holds {what}; name the right one in dataset.captions")
        return candidates[0]


def matched_pictures(
    references: ById[list[str]], source: Source, beside: PurePosixPath
) -> tuple[list[Record], dict[str, Found]]:
    """Records for what a file of captions names, sorted by picture name, and the pictures of these records.

    ``beside`` is the caption file's folder in the source: paths may be relative to that too. A name without its
    picture stays a record, for the audit to count. Raises CaptionsError where a file name fits several pictures.
    """
    found = source.find(is_picture)
    by_path = {file.path: file for file in found}
    by_file_name: dict[str, list[PurePosixPath]] = {}
    for path in by_path:
        by_file_name.setdefault(path.name, []).append(path)
    file_names = {key: name for name, key in references.names.items()}
    keys: dict[PurePosixPath, list[str]] = {}
    for key in references:
        told = PurePosixPath(file_names.get(key, key).replace("\\", "/"))
        fitting = [path for path in (told, beside / told) if path in by_path] or by_file_name.get(str(told), [told])
        if len(set(fitting)) > 1 and told not in by_path:
            where = " and ".join(map(str, fitting[:_SHOWN]))
            raise CaptionsError(f"{references.places[key]}: {str(told)!r} is {where}; write the path of the one meant")
        keys.setdefault(fitting[0], []).append(key)
    if left := len(by_path.keys() - keys.keys()):
        _log.info("%d of %d pictures in %s have no captions and are left out", left, len(found), source.address)
    images = _flat_names(keys.keys())
    records = [
        Record(images[path], tuple(text for key in of_one for text in references[key]), split_of(references, of_one))
        for path, of_one in keys.items()
    ]
    pictures = {images[path]: by_path[path] for path in keys if path in by_path}
    return sorted(records, key=lambda record: record.image), pictures


def _flat_names(paths: Collection[PurePosixPath]) -> dict[PurePosixPath, str]:
    """A name for each path, all different: the file's own, or ``a__b.jpg`` for ``a/b.jpg`` if one of several."""
    file_names = Counter(path.name for path in paths)
    flat = {path: path.name if file_names[path.name] == 1 else "__".join(path.parts) for path in paths}
    often = Counter(flat.values())  # a__b.jpg may be the name of another one
    return {
        path: name if often[name] == 1 and len(name.encode()) <= _LONGEST else fingerprint(str(path)) + path.suffix
        for path, name in flat.items()
    }
