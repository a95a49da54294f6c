"""What every data set looks like once it is here: a folder of pictures and a list of records, and their splits."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from wordgaze.core.errors import CaptionsError
from wordgaze.core.files import write_text

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Box:
    """Where a noun is: ``noun`` in the singular, ``box`` = (left, top, right, bottom) in pixels."""

    noun: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Record:
    """One picture: its file name under ``images/``, its captions as given, its official split if it has one."""

    image: str
    captions: tuple[str, ...]
    split: Split | None = None
    objects: tuple[Box, ...] = field(default=())


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Writes one JSON object a line, in the order given, atomically."""
    lines = [json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) for record in records]
    write_text(path, "".join(line + "\n" for line in lines))


def read_records(path: Path) -> list[Record]:
    """Reads what :func:`write_records` wrote. Raises CaptionsError on a line that is none of its own."""
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            fields = json.loads(line)
            objects = tuple(Box(o["noun"], tuple(o["box"])) for o in fields.pop("objects"))
            fields["captions"] = tuple(fields["captions"])
            records.append(Record(**fields, objects=objects))
        except (ValueError, KeyError, TypeError) as error:
            raise CaptionsError(f"{path}:{number} is not a record ({error}); run the download stage again") from error
    return records


def assign_splits(records: Sequence[Record], dev_share: float, test_share: float) -> list[Record]:
    """Gives every record without a split one, by the hash of its picture's name: splits are by image, never by caption.

    A picture's split does not depend on which others there are, so a data set can grow without test pictures
    wandering into train. Only where a split would stay empty, as among very few pictures, one picture is moved to it.
    """
    done = [r if r.split else replace(r, split=_split(r.image, dev_share, test_share)) for r in records]
    free = {record.image for record in records if record.split is None}
    for split, share in (("test", test_share), ("dev", dev_share), ("train", 1.0)):
        if share and not any(record.split == split for record in done):
            done = _with_one(done, free, cast(Split, split))
    return done


def hash_place(image: str) -> float:
    """Where a picture stands among all that there could be, from 0 to 1: the same everywhere, and like by chance."""
    return int.from_bytes(hashlib.sha256(image.encode()).digest()[:8]) / 2**64


def _split(image: str, dev_share: float, test_share: float) -> Split:
    place = hash_place(image)
    if place < test_share:
        return "test"
    return "dev" if place < test_share + dev_share else "train"


def _with_one(records: list[Record], free: set[str], split: Split) -> list[Record]:
    """Moves one of the ``free`` pictures to ``split``, from the largest split; none where that would empty another."""
    sizes = Counter(record.split for record in records)
    givers = [record for record in records if record.image in free and sizes[record.split] > 1]
    if not givers:
        return records
    moved = min(givers, key=lambda record: (-sizes[record.split], hash_place(record.image))).image
    return [replace(record, split=split) if record.image == moved else record for record in records]
