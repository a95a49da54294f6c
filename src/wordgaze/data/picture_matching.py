"""Which picture a name means: one rule for the names in caption files, in references and in results.

People write the path of a picture as their own machine knows it: with another root, with backslashes, in another case,
without the extension, as a URL or as a number. :class:`PictureIndex` compares such names with the paths that are there.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from wordgaze.core.errors import CaptionsError
from wordgaze.vision.formats import EXTENSIONS, UNREAD_EXTENSIONS

_Parts: TypeAlias = tuple[str, ...]

TOP = PurePosixPath()
"""The folder that the paths of an index begin in."""
_SHOWN = 3  # paths in a message
_SUFFIXES = EXTENSIONS | UNREAD_EXTENSIONS | {".npy", ".npz", ".pt", ".txt", ".json", ".xml"}  # features, boxes
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/+", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_BYTE = re.compile(r"\\x([89a-f][0-9a-f])", re.IGNORECASE)  # as wordgaze.core.printable writes a byte
_HALF = re.compile("[\udc80-\udcff]")  # a byte of a name that is not UTF-8, as os.fsdecode gives it
_AROUND = " \t\r\n\"'\ufeff\u200b\u3000"  # what surrounds a name in a table and does not belong to it
_NUMBER = re.compile(r"(?:coco_(?:train|val|test)\d{4}_)?0*(\d+)(?:\.0)?")  # 7.0: a column with gaps, read as floats


class AmbiguousNameError(CaptionsError):
    """A name fits several pictures equally well."""


class NameMatch(NamedTuple):
    """The picture that a name means.

    ``folding`` is 0 or 1 if the name is spelled like the path, and larger the more had to be disregarded. ``dropped``
    is the number of leading parts of the name that the path does not have.
    """

    path: PurePosixPath
    folding: int
    dropped: int

    @property
    def is_certain(self) -> bool:
        """Whether every part of the name is in the path; otherwise the name could mean a picture that is not there."""
        return self.folding <= _SPELLED and not self.dropped

    @property
    def is_whole(self) -> bool:
        """Whether the name is that of the path with its extension, except for upper and lower case."""
        return self.folding <= _CASELESS and not self.dropped

    @property
    def is_by_number(self) -> bool:
        """Whether name and path have only a number in common, as 391895 and ``COCO_val2014_000000391895.jpg``."""
        return self.folding == len(_FOLDINGS) - 1


class PictureIndex:
    """The pictures with these paths, to be found by name.

    A name matches the path with which it shares the most parts at the end. Parts are equal if they are spelled alike,
    else without regard to percent-encoding, Unicode normal form (NFC, NFD) and blanks around them, else to case and
    width, else to the extension, and at last if both are the same number (391895 and
    ``COCO_val2014_000000391895.jpg``): the strictest comparison that finds a path decides. A scheme, host, drive letter
    or root that no path has is disregarded, and ``..`` is resolved. Of several paths that match equally, the one beside
    the caption file is meant, then the one that the name has completely, then the nearest to the caption file.
    """

    def __init__(self, paths: Iterable[PurePosixPath]) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        self._as_written = {str(path): path for path in self.paths}
        self._decided: dict[tuple[_Parts, _Parts, PurePosixPath], tuple[list[PurePosixPath], int]] = {}

    def find(self, name: str, beside: PurePosixPath = TOP) -> PurePosixPath | None:
        """The path that ``name`` means, or None. ``beside`` is the folder of the file that has the name.

        Raises AmbiguousNameError, which names the paths, if several match equally.
        """
        match = self.match(name, beside)
        return None if match is None else match.path

    def match(self, name: str, beside: PurePosixPath = TOP) -> NameMatch | None:
        """As :meth:`find`, with how well the name fits."""
        for written in (str(beside / name) if name else "", name):
            if path := self._as_written.get(written):
                return NameMatch(path, 0, 0)
        text = _BYTE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), name) if self._has_bytes else name
        parts = _resolved(_parts(text), beside)
        named = tuple(part for part in parts if part != "..")
        keys = [*map(_caseless, named[:-1]), *map(_numbered, named[-1:])]
        for start in range(len(named)):
            if (tail := "/".join(keys[start:])) in self._tails:
                raw = tuple(text.split("/")[start - len(named) :])
                found, folding = self._best(tail, raw, named[start:], beside)
                if len(found) > 1:
                    raise AmbiguousNameError(f"{name!r} matches {_listed(found)}; write the path of one")
                return NameMatch(found[0], folding, start + len(parts) - len(named))
        return None

    def nearest(self, name: str) -> PurePosixPath | None:
        """A path that looks like ``name``, to be shown beside it; None if there are no pictures."""
        if not self.paths:
            return None
        wanted = _caseless((_parts(name) or ("",))[-1])
        at = bisect_left(self._by_name, (wanted,))
        around = self._by_name[max(0, at - 1) : at + 1]
        return max(around, key=lambda each: _num_common(each[0], wanted))[1]

    def _best(self, tail: str, raw: _Parts, named: _Parts, beside: PurePosixPath) -> tuple[list[PurePosixPath], int]:
        """The paths with this tail that fit best, and by which comparison."""
        known = (raw, named, beside)
        if known not in self._decided:  # many names may share a tail that many paths have
            paths = self._tails[tail]
            for folding, fold in enumerate(_FOLDINGS):
                wanted = fold(raw if fold is _raw else named)
                fitting = [path for path in paths if fold(_own(path, fold)[-len(named) :]) == wanted]
                if fitting:
                    self._decided[known] = _preferred(fitting, len(named), beside), folding
                    break
        return self._decided[known]

    @cached_property
    def _has_bytes(self) -> bool:
        return any(_HALF.search(path) for path in self._as_written)

    @cached_property
    def _tails(self) -> dict[str, list[PurePosixPath]]:
        """The paths by each of their tails, compared as loosely as possible."""
        tails: dict[str, list[PurePosixPath]] = {}
        for path in self.paths:
            *folders, name = _parts(str(path)) or ("",)
            key = _numbered(name)
            tails.setdefault(key, []).append(path)
            for folder in reversed(folders):
                key = f"{_caseless(folder)}/{key}"
                tails.setdefault(key, []).append(path)
        return tails

    @cached_property
    def _by_name(self) -> list[tuple[str, PurePosixPath]]:
        return sorted((_caseless(path.name), path) for path in self.paths)


def _preferred(paths: list[PurePosixPath], length: int, beside: PurePosixPath) -> list[PurePosixPath]:
    """The one of these paths, which agree in ``length`` parts, that is meant, or all of them."""
    if len(paths) == 1:
        return paths
    leads = {path: _parts(str(path))[:-length] for path in paths}
    folder = _parts(str(beside))
    for lead in (folder, ()):
        if len(exact := [path for path in paths if leads[path] == lead]) == 1:
            return exact
    common = {path: _num_common(lead, folder) for path, lead in leads.items()}
    most = max(common.values())
    nearest = [path for path in paths if common[path] == most]
    return nearest if len(nearest) == 1 else paths


def _own(path: PurePosixPath, fold: Callable[[_Parts], _Parts]) -> _Parts:
    return path.parts if fold is _raw else _parts(str(path))


@lru_cache(1 << 16)
def _parts(text: str) -> _Parts:
    """The parts of a path in any notation, decoded and normalised, without root; only leading ``..`` remain."""
    if "%" in text:
        text = unquote_to_bytes(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
    text = _HALF.sub(lambda byte: chr(ord(byte[0]) - 0xDC00), text)  # as Latin-1, the most frequent of old names
    text = unicodedata.normalize("NFC", text).replace("\\", "/").strip(_AROUND)
    if url := _URL.match(text):
        text = _QUERY.sub("", text[url.end() :])
    text = _DRIVE.sub("", text, count=1) if _DRIVE.match(text) else text
    parts: list[str] = []
    for part in (each.strip(_AROUND) for each in text.split("/")):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def _resolved(parts: _Parts, beside: PurePosixPath) -> _Parts:
    """``parts`` with their leading ``..`` resolved from ``beside`` as far as it goes."""
    num_up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    folder = _parts(str(beside))
    return (*folder[: len(folder) - num_up], *parts[num_up:]) if 0 < num_up <= len(folder) else parts


@lru_cache(1 << 16)
def _caseless(part: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold()).rstrip(" .")


def _stem(part: str) -> str:
    whole = _caseless(part)
    head, dot, suffix = whole.rpartition(".")
    return head if head and f"{dot}{suffix}" in _SUFFIXES else whole


def _numbered(part: str) -> str:
    stem = _stem(part)
    number = _NUMBER.fullmatch(stem)
    return number[1] if number else stem


def _raw(parts: _Parts) -> _Parts:
    return parts


def _spelled(parts: _Parts) -> _Parts:
    return parts


def _without_case(parts: _Parts) -> _Parts:
    return tuple(map(_caseless, parts))


def _without_extension(parts: _Parts) -> _Parts:
    return (*map(_caseless, parts[:-1]), _stem(parts[-1]))


def _by_number(parts: _Parts) -> _Parts:
    return (*map(_caseless, parts[:-1]), _numbered(parts[-1]))


_FOLDINGS: tuple[Callable[[_Parts], _Parts], ...] = (_raw, _spelled, _without_case, _without_extension, _by_number)
_SPELLED, _CASELESS = 1, 2  # the places of _spelled and _without_case


def _num_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of items that both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _listed(paths: Sequence[PurePosixPath]) -> str:
    shown = " and ".join(map(str, paths[:_SHOWN]))
    return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown
