"""Records, the common form of all data sets: one image with its captions and boxes per record, and split assignment."""

import hashlib
import json
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from wordgaze.core.checksums import check_file, read_checksums
from wordgaze.core.errors import CaptionsError, DataError
from wordgaze.core.files import atomic_write

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Box:
    """The bounding box of an object: ``noun`` in the singular, ``box`` = (left, top, right, bottom) in pixels. Right
    and bottom are exclusive."""

    noun: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Record:
    """One image: its file name under ``images/``, its captions as given, its official split if there is one."""

    image: str
    captions: tuple[str, ...]
    split: Split | None = None
    objects: tuple[Box, ...] = field(default=())


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used and is left out: ``place`` is its file and line, ``reason`` a short clause."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Writes the records as JSON lines, in the order given, atomically."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n")


def read_records(path: Path) -> list[Record]:
    """Reads what :func:`write_records` wrote. Raises CaptionsError for a file that is missing, damaged or not UTF-8,
    and for a line that is not a record."""
    return list(iterate_records(path))


def iterate_records(path: Path) -> Iterator[Record]:
    """As :func:`read_records`, one record at a time."""
    remedy = "run dvc repro -f -s download"
    try:
        check_file(path, read_checksums(path.parent, [path.name], remedy).get(path.name), remedy)
        # Only a newline ends a line: str.splitlines would also split at U+0085 and U+2028, which captions may contain.
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield _record(path, number, line.removesuffix("\n"))
    except FileNotFoundError as error:
        raise CaptionsError(f"{path} is missing; run dvc repro download") from error
    except UnicodeDecodeError as error:
        raise CaptionsError(f"{path} is not UTF-8 ({error.reason}); run dvc repro -f -s download") from error
    except CaptionsError:
        raise
    except DataError as error:
        raise CaptionsError(str(error)) from error


def _record(path: Path, number: int, line: str) -> Record:
    try:
        fields = json.loads(line)
        objects = tuple(Box(each["noun"], tuple(each["box"])) for each in fields.pop("objects"))
        record = Record(**{**fields, "captions": tuple(fields["captions"])}, objects=objects)
        _check_types(record)
        return record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CaptionsError(f"{path}:{number} is not a record ({error}); run dvc repro -f -s download") from error


def _check_types(record: Record) -> None:
    """Raises ValueError for a value of another type than a record has."""
    if not isinstance(record.image, str) or record.split not in (None, *SPLITS):
        raise ValueError(f"the image {record.image!r} or the split {record.split!r} is not valid")
    if not all(isinstance(caption, str) for caption in record.captions):
        raise ValueError(f"a caption of {record.image} is not text")
    for each in record.objects:
        if not isinstance(each.noun, str) or len(each.box) != 4 or not all(type(n) is int for n in each.box):
            raise ValueError(f"a box of {record.image} is not a noun and four whole numbers")


def assign_splits(records: Sequence[Record], dev_share: float, test_share: float) -> list[Record]:
    """Assigns a split to every record that has none, by the hash of its image name: splits are by image, never by
    caption.

    The split of an image does not depend on the other images, so a data set can grow without test images moving into
    train. Only if a split would stay empty, as with very few images, one image is moved to it.
    """
    assigner = SplitAssigner(records, dev_share, test_share)
    return [assigner.assigned(record) for record in records]


class SplitAssigner:
    """Assigns splits as :func:`assign_splits`, to records that are read one at a time: once to count them, and then
    again. It holds a few images, whatever the number of records."""

    def __init__(self, records: Iterable[Record], dev_share: float, test_share: float) -> None:
        self._shares = (dev_share, test_share)
        self.sizes: Counter[Split] = Counter()
        """The number of records of each split."""
        self._first: dict[Split, list[tuple[float, str]]] = {split: [] for split in SPLITS}
        self._moved: dict[str, Split] = {}
        for record in records:
            split = record.split or self._hashed(record.image)
            self.sizes[split] += 1
            if record.split is None:
                self._keep_first(split, record.image)
        for name, share in (("test", test_share), ("dev", dev_share), ("train", 1.0)):
            if share and not self.sizes[cast(Split, name)]:
                self._fill(cast(Split, name))

    def assigned(self, record: Record) -> Record:
        """The record with its split."""
        return record if record.split else replace(record, split=self.split_of(record.image))

    def split_of(self, image: str) -> Split:
        """The split of an image that has no official one."""
        return self._moved.get(image) or self._hashed(image)

    def _hashed(self, image: str) -> Split:
        fraction = hash_fraction(image)
        dev_share, test_share = self._shares
        if fraction < test_share:
            return "test"
        return "dev" if fraction < test_share + dev_share else "train"

    def _keep_first(self, split: Split, image: str) -> None:
        """Keeps the images with the least hashes: each of the splits may take one."""
        first, key = self._first[split], (hash_fraction(image), image)
        if len(first) < len(SPLITS) or key < first[-1]:
            insort(first, key)
            del first[len(SPLITS) :]

    def _fill(self, split: Split) -> None:
        """Moves an image without an official split from the largest split, unless that would empty another split."""
        candidates = [(-self.sizes[name], *first[0], name) for name, first in self._first.items() if first]
        candidates = [each for each in candidates if each[0] < -1]
        if candidates:
            *_, image, before = min(candidates)
            self._moved[image] = split
            del self._first[before][0]
            self.sizes.update({before: -1, split: 1})


def hash_fraction(image: str) -> float:
    """A pseudo-random number in [0, 1) derived from the image name, the same on every machine."""
    return image_hash(image) / 2**64


def image_hash(image: str) -> int:
    """64 bits of a hash of the image name, the same on every machine."""
    return int.from_bytes(hashlib.sha256(image.encode()).digest()[:8])
