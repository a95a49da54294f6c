"""What every data set looks like once it is here: a folder of pictures and a list of records."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

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


class DataSet(Protocol):
    """One data set. ``collect`` is all that the pipeline asks of it."""

    name: str

    def collect(self, folder: Path) -> list[Record]:
        """Puts the pictures into ``folder/images`` and tells what is known of each.

        Records may name pictures that are missing or broken, and pictures may have no record: the audit that
        follows counts and drops both. Raises DataError where the source itself cannot be used.
        """
        ...


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
            raise CaptionsError(
                f"{path}:{number} is not a record ({error}); run the download stage again"
            ) from error
    return records
