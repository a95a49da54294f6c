"""What every data set looks like once it is here: a folder of pictures and a list of records, and their splits."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from wordgaze.errors import CaptionsError
from wordgaze.files import write_text

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
    wandering into train.
    """
    return [r if r.split else replace(r, split=_split(r.image, dev_share, test_share)) for r in records]


def _split(image: str, dev_share: float, test_share: float) -> Split:
    place = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8]) / 2**64
    if place < test_share:
        return "test"
    return "dev" if place < test_share + dev_share else "train"
