"""Finding image files by path, folder, pattern or list: one by one, in a fixed order, without opening any."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from glob import has_magic
from io import BufferedIOBase
from pathlib import Path, PurePath
from typing import NamedTuple, TypeAlias, cast

from wordgaze.core.errors import ImageError
from wordgaze.core.files import missing_file_remedy
from wordgaze.vision.formats import EXTENSIONS, UNREAD_EXTENSIONS

STDIN = Path("-")
_CHUNK = 65_536  # bytes of a list


class ImageFile(NamedTuple):
    """A file that may be an image. ``name`` is its path below the folder that was searched."""

    path: Path
    name: PurePath


FoundImage: TypeAlias = ImageFile | ImageError
"""A file, or the error of a folder that cannot be listed."""


@dataclass(frozen=True)
class ImageFiles:
    """The image files that ``paths`` and ``lists`` name, each once.

    A path is a file, a folder, a pattern such as ``photos/**/*.jpg``, or ``-`` for a list on standard input. Folders
    are searched with all their subfolders for names with one of the EXTENSIONS: first the images of a folder by name,
    then its subfolders by name. Hidden files and folders are skipped, and so are links to folders, which could form a
    loop. A pattern is expanded by the same rules.
    ``lists`` are files of paths, or ``-``, separated by NUL if there is one in the file and by line breaks otherwise.
    ``skip`` are resolved folders that are not searched.

    Iterating lists one folder at a time, and remembers 8 bytes of each file to recognise it again.
    """

    paths: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()
    skip: frozenset[Path] = frozenset()

    @cached_property
    def total(self) -> int | None:
        """The number of items; None with a list, which is read only once.

        Raises ImageError for a path that does not exist, a folder without images and a pattern without a match, and
        OSError for a list that cannot be opened.
        """
        seen: set[int] = set()
        for path in self.paths:
            if path == STDIN:
                continue
            if not os.path.lexists(path) and not has_magic(str(path)):
                raise ImageError(f"{path}: there is no such file or folder; {missing_file_remedy(path)}")
            found = False
            for each in self._find(path):
                found = True
                _is_new(each, seen)
            if not found:
                raise _nothing_found(path)
        for path in self.lists:
            if path != STDIN:
                path.open("rb").close()
        return None if self.lists or STDIN in self.paths else len(seen)

    def __iter__(self) -> Iterator[FoundImage]:
        seen: set[int] = set()
        for path in self.paths:
            found = self._read_list(path) if path == STDIN else self._find(path)
            yield from (each for each in found if _is_new(each, seen))
        for path in self.lists:
            yield from (each for each in self._read_list(path) if _is_new(each, seen))

    def _find(self, path: Path) -> Iterator[FoundImage]:
        if path.is_dir():
            yield from self._search(path, PurePath())
        elif has_magic(str(path)) and not os.path.lexists(path):
            yield from self._expand(Path(path.anchor), PurePath(), path.relative_to(path.anchor).parts)
        else:  # one that has vanished in the meantime is reported when it is opened
            yield ImageFile(path, PurePath(path.name))

    def _search(self, folder: Path, name: PurePath) -> Iterator[FoundImage]:
        """The images in a folder, then those of its subfolders."""
        for below, below_name, entries in self._folders(folder, name):
            if isinstance(entries, ImageError):
                yield entries
            else:
                yield from (ImageFile(below / e.name, below_name / e.name) for e in entries if e.is_image)

    def _folders(self, folder: Path, name: PurePath) -> "Iterator[tuple[Path, PurePath, list[_Entry] | ImageError]]":
        """A folder and all its subfolders. A stack, because they can be nested deeper than Python recurses."""
        stack = [(folder, name)]
        while stack:
            folder, name = stack.pop()
            entries = _listing(folder)
            yield folder, name, entries
            if not isinstance(entries, ImageError):
                below = [(folder / entry.name, name / entry.name) for entry in entries if entry.is_folder]
                stack += [each for each in reversed(below) if not self.skip or each[0].resolve() not in self.skip]

    def _expand(self, folder: Path, name: PurePath, parts: tuple[str, ...]) -> Iterator[FoundImage]:
        """The images that match the remaining ``parts`` of a pattern. A folder that matches is searched."""
        part, rest = parts[0], parts[1:]
        if part == "**" and rest:
            for below, below_name, _ in self._folders(folder, name):
                yield from self._expand(below, below_name, rest)
        elif part == "**":
            yield from self._search(folder, name)
        elif has_magic(part) and not os.path.lexists(folder / part):  # a folder may be named like a pattern
            entries = _listing(folder)
            if isinstance(entries, ImageError):
                yield entries
                return
            for entry in entries:
                if fnmatchcase(entry.name, part):
                    yield from self._matched(entry, folder / entry.name, name / entry.name, rest)
        elif rest:
            yield from self._expand(folder / part, name, rest)
        elif os.path.lexists(folder / part):
            yield from self._find(folder / part)

    def _matched(self, entry: "_Entry", path: Path, name: PurePath, rest: tuple[str, ...]) -> Iterator[FoundImage]:
        if entry.is_folder:
            yield from self._expand(path, name, rest) if rest else self._search(path, name)
        elif not rest and entry.is_image:
            yield ImageFile(path, name)

    def _read_list(self, path: Path) -> Iterator[FoundImage]:
        if path == STDIN:
            yield from self._listed(cast(BufferedIOBase, sys.stdin.buffer))
        else:
            with path.open("rb") as file:
                yield from self._listed(file)

    def _listed(self, file: BufferedIOBase) -> Iterator[FoundImage]:
        for path in _entries_of(file):
            if path.is_dir():
                yield from self._find(path)
            else:
                is_below = not path.is_absolute() and ".." not in path.parts
                yield ImageFile(path, path if is_below else PurePath(path.name))


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The image files that ``paths`` name, as in :class:`ImageFiles`.

    Raises ImageError for a path that does not exist, a folder without images and a folder that cannot be listed.
    """
    files = ImageFiles(tuple(paths))
    assert files.total is not None
    found = []
    for each in files:
        if isinstance(each, ImageError):
            raise each
        found.append(each.path)
    return found


class _Entry(NamedTuple):
    """An entry of a folder."""

    name: str
    is_folder: bool
    is_image: bool

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> "_Entry":
        is_image = PurePath(entry.name).suffix.lower() in EXTENSIONS
        if entry.is_symlink():
            return cls(entry.name, False, is_image and not os.path.isdir(entry.path))  # noqa: PTH112  # Path raises for a link without permission
        is_folder = entry.is_dir(follow_symlinks=False)
        return cls(entry.name, is_folder, is_image and not is_folder)


def _listing(folder: Path) -> list[_Entry] | ImageError:
    """The subfolders and the images of a folder, sorted by name; no file is opened."""
    try:
        with os.scandir(folder) as listed:
            entries = (_Entry.of(each) for each in listed if not each.name.startswith("."))
            return sorted(entry for entry in entries if entry.is_folder or entry.is_image)
    except (FileNotFoundError, NotADirectoryError):  # a part of a pattern leads nowhere, or it has vanished
        return []
    except OSError as error:
        return ImageError(f"{folder}: cannot be searched ({error.strerror}); check its permissions")


def _is_new(found: FoundImage, seen: set[int]) -> bool:
    """Whether this is the first time that a file is found; it is then added to ``seen``."""
    key = hash(str(found if isinstance(found, ImageError) else found.path))
    if key in seen:
        return False
    seen.add(key)
    return True


def _nothing_found(path: Path) -> ImageError:
    if path.is_dir():
        unread = Counter(
            suffix
            for file in path.rglob("*")
            if (suffix := file.suffix.lower()) in UNREAD_EXTENSIONS and file.is_file()
        )
        if unread:
            found = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
            return ImageError(
                f"{path}: the folder holds images of formats that are not read ({found}); save them as JPEG"
            )
        return ImageError(f"{path}: the folder holds no images ({', '.join(sorted(EXTENSIONS))})")
    return ImageError(f"{path}: no image matches this pattern; check it")


def _entries_of(file: BufferedIOBase) -> Iterator[Path]:
    """The paths of a list, as soon as each is complete. An empty entry is skipped."""
    separator, rest = b"", b""
    while chunk := file.read1(_CHUNK):
        rest += chunk
        if not separator:
            separator = next((each for each in (b"\0", b"\n") if each in rest), b"")
        if separator:
            *whole, rest = rest.split(separator)
            yield from _paths(whole, separator)
    yield from _paths([rest], separator)


def _paths(entries: list[bytes], separator: bytes) -> Iterator[Path]:
    for entry in entries:
        name = entry if separator == b"\0" else entry.removesuffix(b"\r")
        if name:
            yield Path(os.fsdecode(name))
