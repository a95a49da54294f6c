"""The files of a data set: loose in a folder, or in archives in a folder or at an address."""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath

from wordgaze.core.files import fingerprint
from wordgaze.core.progress import counter, track, transfer
from wordgaze.data.datasets.archives import extract, is_archive, members, read_member
from wordgaze.data.datasets.fetch import NotThereError, checksums, fetch, local_path
from wordgaze.data.readers.captions.names import SPLITS_BY_NAME
from wordgaze.vision.formats import EXTENSIONS

_log = logging.getLogger(__name__)

_WILDCARDS = frozenset("*?[")
_LITTER_PREFIXES = (".", "~$")  # hidden files and ._ of macOS, locks of Office
_LITTER = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin", "lost+found"}
)
_SPLIT_NAMES = "|".join(sorted(SPLITS_BY_NAME, key=len, reverse=True))
_SPLIT_WORD = re.compile(rf"(?<![a-z])(?:{_SPLIT_NAMES})(?=(?:data|set)?(?![a-z]))")  # train, and traindata


@dataclass(frozen=True)
class Found:
    """A file: ``path`` is relative to ``place``, which is a folder or, if ``packed``, an archive.

    Of several archives that belong together, such as the parts of a Parquet table, ``path`` begins with the name of the
    archive; ``member`` is then the name in the archive.
    """

    place: Path
    path: PurePosixPath
    packed: bool = False
    member: str = ""

    @property
    def name_in_archive(self) -> str:
        """The name of a packed file in its archive."""
        return self.member or str(self.path)

    @property
    def label(self) -> Path:
        """The path to show in a message."""
        return self.place / self.name_in_archive

    def read(self) -> bytes:
        """The bytes of the file."""
        return read_member(self.place, self.name_in_archive) if self.packed else self.label.read_bytes()


class Source:
    """The files of a folder or an address (``http(s)://``, ``file://``), and those in its archives.

    ``address`` may also be a single archive, or a pattern such as ``shards/train-*.tar`` of the files of a folder that
    are used, if there is no file of that name. A folder is listed; an address of the web cannot be, so ``names`` are
    the files to request there. Downloads are stored in ``cache`` and made when :meth:`find` needs them. They are
    verified by ``pinned``, checksums by base name, or if that is None by the ``SHA256SUMS`` at the address, if there is
    one.
    """

    def __init__(
        self, address: str, cache: Path, names: Sequence[str] = (), *, pinned: Mapping[str, str] | None = None
    ) -> None:
        self.address = address.rstrip("/")
        self._names, self._pinned = names, pinned
        self._single = is_archive(self.address)
        base, _, name = self.address.rpartition("/") if self._single else (self.address, "", "")
        local = local_path(self.address)
        self._pattern = ""
        if local is not None and is_pattern(local):
            local, self._pattern, self._single = local.parent, local.name, False
        if local is not None:
            self._single = self._single and not local.is_dir()
            base, name = (str(local.parent), local.name) if self._single else (str(local), "")
        if self._single:
            self._names = [name]
        self._base, self._folder = base, None if local is None else Path(base)
        self._cache = cache / fingerprint(base)
        self._members: dict[str, list[Found]] = {}

    def find(self, wanted: Callable[[PurePosixPath], bool]) -> list[Found]:
        """The files whose path is ``wanted``, the least nested first, then sorted by path; empty if there are none.

        All come from one place, and loose files precede archives: an archive often lies beside its unpacked files.
        Archives whose names differ only by numbers and splits, such as ``train-00000.tar`` and ``val-00000.tar``, are
        one place. Litter that other systems leave is never found.
        """
        for place in chain([self._loose(wanted)], map(self._parts, self._archives)):
            if found := [file for file in place if not is_litter(file.path) and wanted(file.path)]:
                return sorted(found, key=lambda file: (len(file.path.parts), file.path))
        return []

    def copy(self, targets: Mapping[Path, Found]) -> None:
        """Copies files to new paths; symbolic links are resolved."""
        loose = [(target, file) for target, file in targets.items() if not file.packed]
        for target, file in track(loose, "copy pictures"):
            shutil.copyfile(file.label, target)
        packed: dict[Path, dict[str, Path]] = {}
        for target, file in targets.items():
            if file.packed:
                packed.setdefault(file.place, {})[file.name_in_archive] = target
        for archive, wanted in packed.items():
            with counter(f"unpack {archive.name}") as report:
                extract(archive, wanted, report)

    def _loose(self, wanted: Callable[[PurePosixPath], bool]) -> list[Found]:
        if self._single:  # a Parquet file is a table too
            single = self._bring(self._names[0]) if self.address.lower().endswith(".parquet") else None
            return [] if single is None else [Found(single.parent, PurePosixPath(single.name))]
        if self._folder is not None:
            return self._files
        fetched = [self._bring(name) for name in self._names if not is_archive(name) and wanted(PurePosixPath(name))]
        return [Found(path.parent, PurePosixPath(path.name)) for path in fetched if path is not None]

    def _parts(self, names: Sequence[str]) -> list[Found]:
        """The files of archives that belong together; those of several are in a folder for each archive."""
        if len(names) == 1:
            return self._packed(names[0])
        return [
            replace(file, path=without_extension(PurePosixPath(name)) / file.path, member=str(file.path))
            for name in names
            for file in self._packed(name)
        ]

    def _packed(self, name: str) -> list[Found]:
        if name not in self._members:
            archive = self._bring(name)
            listed = [] if archive is None else members(archive)
            self._members[name] = [Found(Path(archive or name), PurePosixPath(path), packed=True) for path in listed]
        return self._members[name]

    @cached_property
    def _archives(self) -> list[list[str]]:
        """The archives to search, relative to the address: the expected ones first, then zips, which list quickly.

        Those of a folder are grouped with the others of the same set.
        """
        expected = [name for name in self._names if is_archive(name)]
        if self._folder is None or self._single:
            return [[name] for name in expected]
        there = [str(file.path) for file in self._files if is_archive(file.path.name) and not is_litter(file.path)]
        there.sort(key=lambda name: (name not in expected, name.count("/"), not name.lower().endswith(".zip"), name))
        groups: dict[str, list[str]] = {}
        for name in there:
            path = PurePosixPath(name)
            groups.setdefault(name if name in expected else part_pattern(path) + path.suffix, []).append(name)
        return list(groups.values())

    @cached_property
    def _files(self) -> list[Found]:
        """All loose files of a local folder."""
        assert self._folder is not None
        if not self._folder.is_dir():
            raise NotThereError(f"{self._folder}: there is no such folder; check dataset.source")
        found = [Found(self._folder, PurePosixPath(path)) for path in _walk(self._folder, "", {self._folder.resolve()})]
        if not self._pattern:
            return found
        matching = [file for file in found if fnmatchcase(str(file.path), self._pattern) and len(file.path.parts) == 1]
        if not matching:
            raise NotThereError(f"{self.address}: no file of {self._folder} matches the pattern; check dataset.source")
        return matching

    @cached_property
    def _sums(self) -> Mapping[str, str]:
        return checksums(self._base) if self._pinned is None else self._pinned

    def _bring(self, name: str) -> Path | None:
        base_name = PurePosixPath(name).name
        try:
            with transfer(f"download {base_name}") as report:
                return fetch(f"{self._base}/{name}", self._cache, self._sums.get(base_name), report)
        except NotThereError:
            if self._single:
                raise
            return None


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern of file names, such as ``train-*.tar``, and not a file of that name."""
    return not _WILDCARDS.isdisjoint(path.name) and not path.exists()


def is_picture(path: PurePosixPath) -> bool:
    """Whether a file of this name is an image, and not one of those that macOS adds to archives."""
    return path.suffix.lower() in EXTENSIONS and not is_litter(path)


def is_litter(path: PurePosixPath) -> bool:
    """Whether a file is left by a system or a program beside the files of a data set: caches, locks, metadata."""
    return any(part.startswith(_LITTER_PREFIXES) or part.lower() in _LITTER for part in path.parts)


def part_pattern(path: PurePosixPath) -> str:
    """What the parts of one data set have in common: the path without extension, numbers and names of splits."""
    return re.sub(r"\d+", "#", _SPLIT_WORD.sub("@", str(without_extension(path)).lower()))


def split_in(path: PurePosixPath) -> str:
    """The name of a split in the name of a file, or in that of one of its folders; "" if there is none."""
    for part in reversed(without_extension(path).parts):
        if match := _SPLIT_WORD.search(part.lower()):
            return match[0]
    return ""


def without_extension(path: PurePosixPath) -> PurePosixPath:
    """The path without its extension; for an archive of several, the folder that stands for it."""
    return path.parent / re.sub(r"(?i)(?<=.)(\.tar\.gz|\.[a-z0-9]+)$", "", path.name)


def by_name(files: Iterable[Found]) -> dict[str, Found]:
    """Files by base name; of several files with one name, the first."""
    named: dict[str, Found] = {}
    for file in files:
        named.setdefault(file.path.name, file)
    return named


def _walk(folder: Path, below: str, linked: set[Path]) -> Iterator[str]:
    """Paths relative to ``folder``. Hidden files are skipped. Links to folders elsewhere are followed.

    ``linked`` are the folders that are read: a link to one of them, into it or around it would repeat files or form a
    cycle.
    """
    with os.scandir(folder / below) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, f"{below}{entry.name}/", linked)
        elif entry.is_file():
            yield below + entry.name
        elif entry.is_dir():
            target = Path(entry.path).resolve()
            if any(target.is_relative_to(known) or known.is_relative_to(target) for known in linked):
                _log.warning("%s is a link to a folder that is read already, and is not followed", entry.path)
            else:
                linked.add(target)
                yield from _walk(folder, f"{below}{entry.name}/", linked)
