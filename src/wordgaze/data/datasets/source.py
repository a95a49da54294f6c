"""The files of a data set: loose in a folder, or in archives in a folder or at an address."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath

from wordgaze.core.files import fingerprint
from wordgaze.core.progress import counter, track, transfer
from wordgaze.data.datasets.archives import extract, is_archive, members, read_member
from wordgaze.data.datasets.fetch import NotThereError, checksums, fetch, local_path
from wordgaze.vision.images import EXTENSIONS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A file: ``path`` is relative to ``place``, which is a folder or, if ``packed``, an archive."""

    place: Path
    path: PurePosixPath
    packed: bool = False

    @property
    def label(self) -> Path:
        """The path to show in a message."""
        return self.place / self.path

    def read(self) -> bytes:
        """The bytes of the file."""
        return read_member(self.place, str(self.path)) if self.packed else self.label.read_bytes()


class Source:
    """The files of a folder or an address (``http(s)://``, ``file://``), and those in its archives.

    ``address`` may also be a single archive. A folder is listed; an address of the web cannot be, so ``names`` are the
    files to request there. Downloads are stored in ``cache`` and made when :meth:`find` needs them. They are verified
    by ``pinned``, checksums by base name, or if that is None by the ``SHA256SUMS`` at the address, if there is one.
    """

    def __init__(
        self, address: str, cache: Path, names: Sequence[str] = (), *, pinned: Mapping[str, str] | None = None
    ) -> None:
        self.address = address.rstrip("/")
        self._names, self._pinned = names, pinned
        self._single = is_archive(self.address)
        base, _, name = self.address.rpartition("/") if self._single else (self.address, "", "")
        local = local_path(self.address)
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
        """
        for place in chain([self._loose(wanted)], map(self._packed, self._archives)):
            if found := [file for file in place if wanted(file.path)]:
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
                packed.setdefault(file.place, {})[str(file.path)] = target
        for archive, wanted in packed.items():
            with counter(f"unpack {archive.name}") as report:
                extract(archive, wanted, report)

    def _loose(self, wanted: Callable[[PurePosixPath], bool]) -> list[Found]:
        if self._single:
            return []
        if self._folder is not None:
            return self._files
        fetched = [self._bring(name) for name in self._names if not is_archive(name) and wanted(PurePosixPath(name))]
        return [Found(path.parent, PurePosixPath(path.name)) for path in fetched if path is not None]

    def _packed(self, name: str) -> list[Found]:
        if name not in self._members:
            archive = self._bring(name)
            listed = [] if archive is None else members(archive)
            self._members[name] = [Found(Path(archive or name), PurePosixPath(path), packed=True) for path in listed]
        return self._members[name]

    @cached_property
    def _archives(self) -> list[str]:
        """The archives to search, relative to the address: the expected ones first, then zips, which list quickly."""
        expected = [name for name in self._names if is_archive(name)]
        if self._folder is None or self._single:
            return expected
        there = [str(file.path) for file in self._files if len(file.path.parts) == 1 and is_archive(file.path.name)]
        return sorted(there, key=lambda name: (name not in expected, not name.lower().endswith(".zip"), name))

    @cached_property
    def _files(self) -> list[Found]:
        """All loose files of a local folder."""
        assert self._folder is not None
        if not self._folder.is_dir():
            raise NotThereError(f"{self._folder}: there is no such folder; check dataset.source")
        return [Found(self._folder, PurePosixPath(path)) for path in _walk(self._folder, "")]

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


def is_picture(path: PurePosixPath) -> bool:
    """Whether a file of this name is an image, and not one of those that macOS adds to archives."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith("._") and "__MACOSX" not in path.parts


def by_name(files: Iterable[Found]) -> dict[str, Found]:
    """Files by base name; of several files with one name, the first."""
    named: dict[str, Found] = {}
    for file in files:
        named.setdefault(file.path.name, file)
    return named


def _walk(folder: Path, below: str) -> Iterator[str]:
    """Paths relative to ``folder``. Hidden files are skipped, and links to folders, which may form cycles."""
    with os.scandir(folder / below) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, f"{below}{entry.name}/")
        elif entry.is_file():
            yield below + entry.name
        elif entry.is_dir():
            _log.warning("%s is a link to a folder and is not followed; copy its files if they are needed", entry.path)
