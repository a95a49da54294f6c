"""The common parts of all data sets: their interface, the selection of a subset, and the names of splits."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.core.files import atomic_directory, fingerprint
from wordgaze.core.progress import transfer
from wordgaze.data.datasets.archives import is_archive, members
from wordgaze.data.datasets.fetch import fetch
from wordgaze.data.datasets.source import Found, Source
from wordgaze.data.readers.captions import ById, ColumnNames, read_references
from wordgaze.data.readers.captions.names import SPLITS_BY_NAME
from wordgaze.data.records import Fault, Record, Split, assign_splits, hash_fraction

_log = logging.getLogger(__name__)


class Collected(NamedTuple):
    """The records of a data set, the rows of its caption files that were left out, and what to do, in one sentence, if
    few of its images were found."""

    records: list[Record]
    faults: Sequence[Fault] = ()
    advice: str = ""


class DataSet(Protocol):
    """The interface of a data set."""

    name: str

    def collect(self, folder: Path) -> Collected:
        """Writes the images to ``folder/images`` and returns the records.

        Records may name images that are missing or broken, and images may have no record: the audit counts and drops
        both. Raises DataError if the source cannot be used.
        """
        ...


@dataclass(frozen=True)
class Subset:
    """The maximum number of images per split, 0 for all.

    With a maximum, images without an official split are split by ``dev_share`` and ``test_share``; otherwise that is
    left to stage ``prepare``, which does the same.
    """

    train: int = 0
    dev: int = 0
    test: int = 0
    dev_share: float = 0.1
    test_share: float = 0.1

    def select(self, records: Sequence[Record], available: Collection[str]) -> list[Record]:
        """The selected records, in their order; ``available`` are the images that exist.

        The selection is pseudo-random, and a smaller selection is part of every larger one. Without any maximum all
        records are selected, even those without an image.
        """
        maximum: dict[Split, int] = {"train": self.train, "dev": self.dev, "test": self.test}
        if not any(maximum.values()):
            return list(records)
        present = [record for record in records if record.image in available]
        if missing := len(records) - len(present):
            _log.warning(
                "%d of %d captioned images are missing; the subset is selected from the others", missing, len(records)
            )
        selected: set[str] = set()
        split = assign_splits(present, self.dev_share, self.test_share)
        for name, count in maximum.items():
            images = {record.image for record in split if record.split == name}
            selected.update(sorted(images, key=hash_fraction)[: count or None])
        return [record for record in split if record.image in selected]


ALL = Subset()


def gather(
    source: Source, records: Sequence[Record], pictures: Mapping[str, Found], subset: Subset, folder: Path
) -> list[Record]:
    """Copies the images of the selected records to ``folder/images`` and returns these records.

    ``pictures`` maps ``Record.image`` to its file. Raises DownloadError if no record has an image.
    """
    require_pictures(source.address, records, pictures)
    selected = subset.select(records, pictures.keys())
    with atomic_directory(folder / "images") as images:
        source.copy({images / r.image: pictures[r.image] for r in selected if r.image in pictures})
    return selected


def require_pictures(address: str, records: Sequence[Record], pictures: Mapping[str, Found]) -> None:
    """Raises DownloadError if no record has an image."""
    if records and not any(record.image in pictures for record in records):
        raise DownloadError(
            f"{address} has none of the {len(records)} captioned images, such as {records[0].image}; "
            "check that captions and images belong to one data set"
        )


def karpathy_records(address: str, name: str, cache: Path) -> list[Record]:
    """Captions and splits of Karpathy and Li 2015, sorted by image name; ``restval`` belongs to train.

    ``address`` is that of ``dataset_NAME.json`` or of an archive with this file. Raises DownloadError if it cannot be
    fetched, and CaptionsError if it cannot be used.
    """
    with transfer(f"download {PurePosixPath(address).name}") as report:
        path = fetch(address, cache / fingerprint(address), progress=report)
    file = Found(path.parent, PurePosixPath(path.name))
    if is_archive(path.name):
        wanted = f"dataset_{name}.json"
        inside = [PurePosixPath(member) for member in members(path) if PurePosixPath(member).name == wanted]
        if not inside:
            raise DownloadError(
                f"{path} does not contain {wanted}; give Karpathy's caption_datasets.zip or that file itself"
            )
        file = Found(path, inside[0], packed=True)
    references = read_references(file.label, file.read(), ColumnNames(image="image"))
    unsplit = next((key for key in references if key not in references.splits), None)
    if unsplit is not None:
        raise CaptionsError(
            f"{references.places[unsplit]}: {unsplit!r} has no split; give Karpathy's dataset_{name}.json"
        )
    return [Record(key, tuple(references[key]), split_of(references, [key])) for key in sorted(references)]


def split_of(references: ById[list[str]], keys: Sequence[str]) -> Split | None:
    """The split of the image with the ids ``keys``, if given. Raises CaptionsError if it is unknown or ambiguous."""
    split = split_or_fault(references, keys)
    if isinstance(split, Fault):
        raise CaptionsError(str(split))
    return split


def split_or_fault(references: ById[list[str]], keys: Sequence[str]) -> Split | Fault | None:
    """As :func:`split_of`, with a fault instead of an error."""
    splits: dict[Split, str] = {}
    for name, place in ((name, place) for key in keys for name, place in references.splits.get(key, {}).items()):
        split = SPLITS_BY_NAME.get(name.lower())
        if split is None:
            known = ", ".join(SPLITS_BY_NAME)
            return Fault(place, f"{name!r} is not a split; use one of {known}, or leave it empty")
        splits.setdefault(split, place)
    if len(splits) > 1:
        (one, first), (other, second) = list(splits.items())[:2]
        return Fault(second, f"{keys[0]!r} is in the split {other}, and in {one} at {first}; remove one of them")
    return next(iter(splits), None)
