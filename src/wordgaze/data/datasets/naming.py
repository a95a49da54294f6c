"""The pictures that the names in caption files mean, and the names of these pictures in a data set."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from wordgaze.core.files import fingerprint
from wordgaze.core.printable import escaped
from wordgaze.data.datasets.source import Found, by_name
from wordgaze.data.picture_matching import TOP, AmbiguousNameError, NameMatch, PictureIndex
from wordgaze.data.readers.captions import ById
from wordgaze.data.records import Fault

_LONGEST = 200  # bytes of a file name; most file systems allow 255, and suffixes are added


@dataclass
class NamedPictures:
    """The result of :func:`name_pictures`, by id in the caption file.

    ``column`` is the column or key by which the pictures were found, "" for the id. ``names`` are the names of the
    images in this column as written, and ``paths`` the pictures that are there. An id with a fault is in neither.
    """

    column: str
    names: dict[str, str] = field(default_factory=dict)
    paths: dict[str, PurePosixPath] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


@dataclass
class _Column:
    """The names of one column by id, the pictures that they match, and why others match none."""

    name: str
    names: dict[str, str]
    matches: dict[str, NameMatch] = field(default_factory=dict)
    ambiguous: dict[str, AmbiguousNameError] = field(default_factory=dict)

    def match(self, captions: ById[Any], pictures: PictureIndex, others: PictureIndex) -> None:
        for key, name in self.names.items():
            try:
                found = pictures.match(name, captions.folders.get(key, TOP))
                if found is None:
                    found = others.match(name, captions.folders.get(key, TOP))
                    found = found if found is not None and found.is_whole else None
                if found is not None:
                    self.matches[key] = found
            except AmbiguousNameError as error:
                self.ambiguous[key] = error

    @property
    def rank(self) -> tuple[int, int, int]:
        """The more pictures are found the better. Numbers count last: those of rows match pictures by chance."""
        matches = self.matches.values()
        named = sum(not match.is_by_number for match in matches)
        return named, sum(match.is_certain for match in matches), len(self.matches)


def name_pictures(captions: ById[Any], pictures: PictureIndex, others: PictureIndex) -> NamedPictures:
    """The picture that each id of ``captions`` means.

    Of the ids and every column of aliases, the one decides by which most pictures are found. Where it finds none for an
    id, another column may, if its name is certain. ``others`` are files that do not have the name of a picture; they
    are found by their whole name only. A name that matches several pictures is a fault, and so is one that resembles a
    picture which another name means with more right: two images are never taken for one.
    """
    columns = [_Column(name, names) for name, names in _columns(captions)]
    for column in columns:
        column.match(captions, pictures, others)
    best = max(columns, key=lambda column: column.rank)
    named = NamedPictures(best.name)
    matches: dict[str, NameMatch] = {}
    for key in captions:
        others_of_row = (column.matches.get(key) for column in columns if column is not best)
        certain = (match for match in others_of_row if match is not None and match.is_certain)
        if match := best.matches.get(key) or next(certain, None):
            matches[key] = match
        elif key in best.ambiguous:
            named.faults.append(Fault(captions.places.get(key, key), str(best.ambiguous[key])))
            continue
        named.names[key] = best.names.get(key, key)
    named.faults += _contested(captions, matches, named.names)
    named.paths = {key: match.path for key, match in matches.items()}
    return named


def _columns(captions: ById[Any]) -> Iterator[tuple[str, dict[str, str]]]:
    yield "", {key: key for key in captions}
    for column, names in captions.aliases.items():
        yield column, {key: name for name, key in names.items() if key in captions}


def _contested(captions: ById[Any], matches: dict[str, NameMatch], names: dict[str, str]) -> list[Fault]:
    """Removes the ids whose picture another id means with more right, or with the same although its name differs."""
    by_path: dict[PurePosixPath, list[str]] = {}
    for key, match in matches.items():
        by_path.setdefault(match.path, []).append(key)
    faults, contested = [], []
    for path, keys in by_path.items():
        if len(keys) == 1 or all(matches[key].is_certain for key in keys):
            continue
        best = min(_distance(matches[key]) for key in keys)
        first = next(key for key in keys if _distance(matches[key]) == best)
        is_tie = (
            len({names[key] for key in keys if _distance(matches[key]) == best}) > 1 and not matches[first].is_certain
        )
        for key in keys:
            if _distance(matches[key]) == best and not is_tie:
                continue
            other = next(each for each in keys if names[each] != names[key])
            reason = f"{names[key]!r} is not there, and {path} is what {names[other]!r} means"
            reason = f"{names[key]!r} and {names[other]!r} both resemble {path}" if is_tie else reason
            faults.append(Fault(captions.places.get(key, key), f"{reason}; write the path in the folder"))
            contested.append(key)
    for key in contested:
        del matches[key], names[key]
    return faults


def _distance(match: NameMatch) -> tuple[bool, int, int]:
    return not match.is_certain, match.dropped, 0 if match.is_certain else match.folding


def pictures_by_name(names: Iterable[str], files: Iterable[Found]) -> dict[str, Found]:
    """The files of images that are told apart by their file names alone, as those of public data sets; by name.

    Of several files with one name, the first is taken. A file whose name differs in case, extension or zeros, as some
    copies of a data set have it, is taken for an image that has none otherwise.
    """
    named = by_name(files)
    wanted = list(names)
    found = {name: named[name] for name in wanted if name in named}
    free = PictureIndex(PurePosixPath(name) for name in named if name not in found)
    for name in wanted:
        if name not in found and (path := _unambiguous(free, name)) is not None:
            found[name] = named[str(path)]
    return found


def _unambiguous(index: PictureIndex, name: str) -> PurePosixPath | None:
    try:
        return index.find(name)
    except AmbiguousNameError:
        return None


def flat_names(paths: Collection[PurePosixPath]) -> dict[PurePosixPath, str]:
    """A unique file name for each path: its own, or ``a__b.jpg`` for ``a/b.jpg`` if its own is not unique.

    Names are unique on file systems that disregard case and normal form too. A name that is too long, or not unique in
    either form, is a fingerprint. A name that is not UTF-8 is decoded as Latin-1.
    """
    file_names = Counter(_folded(path.name) for path in paths)
    flat = {p: _decoded(p.name if file_names[_folded(p.name)] == 1 else "__".join(p.parts)) for p in paths}
    occurrences = Counter(map(_folded, flat.values()))  # another file may be named a__b.jpg
    return {
        path: name
        if occurrences[_folded(name)] == 1 and len(name.encode()) <= _LONGEST and not {"/", "\0"} & {*name}
        else fingerprint(escaped(str(path))) + _decoded(path.suffix)
        for path, name in flat.items()
    }


def _decoded(name: str) -> str:
    return "".join(chr(ord(each) - 0xDC00) if "\udc80" <= each <= "\udcff" else each for each in name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
