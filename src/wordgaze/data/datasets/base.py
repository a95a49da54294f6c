"""What all data sets share: their interface, which of their pictures are taken, and splits under any of their names."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from wordgaze.core.errors import CaptionsError, DownloadError
from wordgaze.core.files import atomic_directory, fingerprint
from wordgaze.core.progress import transfer
from wordgaze.data.datasets.archives import is_archive, members
from wordgaze.data.datasets.fetch import fetch
from wordgaze.data.datasets.source import Found, Source
from wordgaze.data.readers.captions import ById, read_references
from wordgaze.data.records import Record, Split, assign_splits, hash_fraction

_SPLITS: dict[str, Split] = {
    "train": "train",
    "restval": "train",  # Karpathy's name for what of COCO's val is trained on
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}

_log = logging.getLogger(__name__)


class DataSet(Protocol):
    """One data set. ``collect`` is all that the pipeline asks of it."""

    name: str

    def collect(self, folder: Path) -> list[Record]:
        """Puts the pictures into ``folder/images`` and tells what is known of each.

        Records may name pictures that are missing or broken, and pictures may have no record: the audit that
        follows counts and drops both. Raises DataError where the source itself cannot be used.
        """
        ...


@dataclass(frozen=True)
class Choice:
    """Which pictures are taken: at most so many of each split, 0 for all of them.

    Where a number is asked for, ``dev_share`` and ``test_share`` split what has no official split; else that is left
    to ``prepare``, which does the same.
    """

    train: int = 0
    dev: int = 0
    test: int = 0
    dev_share: float = 0.1
    test_share: float = 0.1

    def of(self, records: Sequence[Record], there: Collection[str]) -> list[Record]:
        """The chosen records, in their order; ``there`` are the pictures that exist.

        They are spread over the whole set, and those of a smaller number are among those of a larger one. Without a
        number all records are chosen, those without a picture too.
        """
        most: dict[Split, int] = {"train": self.train, "dev": self.dev, "test": self.test}
        if not any(most.values()):
            return list(records)
        present = [record for record in records if record.image in there]
        if missing := len(records) - len(present):
            _log.warning("%d of %d captioned pictures are not there; the others are chosen from", missing, len(records))
        taken: set[str] = set()
        split = assign_splits(present, self.dev_share, self.test_share)
        for name, count in most.items():
            images = {record.image for record in split if record.split == name}
            taken.update(sorted(images, key=hash_fraction)[: count or None])
        return [record for record in split if record.image in taken]


ALL = Choice()


def gather(
    source: Source, records: Sequence[Record], pictures: Mapping[str, Found], choice: Choice, folder: Path
) -> list[Record]:
    """Copies what is chosen of ``pictures``, which go by ``Record.image``, to ``folder/images``; gives the chosen.

    Raises DownloadError where no record has a picture.
    """
    if records and not any(record.image in pictures for record in records):
        raise DownloadError(
            f"{source.address} holds none of the {len(records)} captioned pictures, such as {records[0].image}; "
            "check that captions and pictures are of one data set"
        )
    chosen = choice.of(records, pictures.keys())
    with atomic_directory(folder / "images") as images:
        source.copy({images / r.image: pictures[r.image] for r in chosen if r.image in pictures})
    return chosen


def karpathy_records(address: str, name: str, cache: Path) -> list[Record]:
    """Captions and splits as Karpathy and Li 2015 made them, sorted by picture name; ``restval`` is trained on.

    ``address`` is that of ``dataset_NAME.json`` or of an archive that holds it. Raises DownloadError where it cannot
    be had, CaptionsError where it cannot be used.
    """
    with transfer(f"download {PurePosixPath(address).name}") as report:
        path = fetch(address, cache / fingerprint(address), progress=report)
    file = Found(path.parent, PurePosixPath(path.name))
    if is_archive(path.name):
        wanted = f"dataset_{name}.json"
        inside = [PurePosixPath(member) for member in members(path) if PurePosixPath(member).name == wanted]
        if not inside:
            raise DownloadError(f"{path} holds no {wanted}; give Karpathy's caption_datasets.zip or that file itself")
        file = Found(path, inside[0], packed=True)
    references = read_references(file.label, data=file.read())
    untold = next((key for key in references if key not in references.splits), None)
    if untold is not None:
        raise CaptionsError(
            f"{references.places[untold]}: {untold!r} has no split; give Karpathy's dataset_{name}.json"
        )
    return [Record(key, tuple(references[key]), split_of(references, [key])) for key in sorted(references)]


def split_of(references: ById[list[str]], keys: Sequence[str]) -> Split | None:
    """The split that a picture, named by ``keys``, is said to be in. Raises CaptionsError where that is unclear."""
    found: dict[Split, str] = {}
    for told, place in ((told, place) for key in keys for told, place in references.splits.get(key, {}).items()):
        split = _SPLITS.get(told.lower())
        if split is None:
            raise CaptionsError(f"{place}: {told!r} is no split; write one of {', '.join(_SPLITS)}, or leave it empty")
        found.setdefault(split, place)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise CaptionsError(
            f"{second}: {keys[0]!r} is in the split {other}, and in {one} at {first}; leave one of them"
        )
    return next(iter(found), None)
