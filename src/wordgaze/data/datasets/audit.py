"""What of a data set can be used: every picture is decoded once, and what is faulty is dropped and counted."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wordgaze.core.errors import DataError, ImageError
from wordgaze.core.progress import track
from wordgaze.data.records import Record
from wordgaze.vision.images import load_image

EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """How often something was found, with the first few places."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """What :func:`audit` saw: ``seen`` = ``kept`` + all of the counts but ``blank_captions``.

    ``seen`` counts records and the pictures that no record names. Of several faults of one record the first in
    the order of the fields counts. Examples are picture names, relative to ``images/``.
    """

    seen: int
    kept: int
    duplicate_records: Finding
    missing_pictures: Finding
    broken_pictures: Finding
    without_captions: Finding
    unnamed_pictures: Finding
    blank_captions: Finding

    @property
    def share(self) -> float:
        """The faulty part of what was seen, 0 to 1."""
        return (self.seen - self.kept) / self.seen if self.seen else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`wordgaze.core.files.write_json`, the same for the same data set."""
        return {**asdict(self), "share": self.share}


def audit(records: Sequence[Record], folder: Path, max_faulty: float) -> tuple[list[Record], AuditReport]:
    """The records that can be used, in their order and without blank captions, and what was wrong with the others.

    Pictures lie in ``folder/images``. Raises DataError where more than the share ``max_faulty`` (0 to 1) is faulty
    and where nothing is left. Nothing on disk is changed.
    """
    images = folder / "images"
    present = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    first: dict[str, Record] = {}
    duplicates = [record.image for record in records if first.setdefault(record.image, record) is not record]
    unique = [replace(record, captions=_told(record)) for record in first.values()]
    broken = _broken([record.image for record in unique if record.image in present], images)
    sound = [record for record in unique if record.image in present and record.image not in broken]
    kept = [record for record in sound if record.captions]
    unnamed = sorted(present - first.keys())
    report = AuditReport(
        seen=len(records) + len(unnamed),
        kept=len(kept),
        duplicate_records=_finding(duplicates),
        missing_pictures=_finding([record.image for record in unique if record.image not in present]),
        broken_pictures=_finding(list(broken.values())),
        without_captions=_finding([record.image for record in sound if not record.captions]),
        unnamed_pictures=_finding(unnamed),
        blank_captions=_finding([r.image for r in first.values() for c in r.captions if not c.strip()]),
    )
    _check(report, folder, max_faulty)
    return kept, report


def _told(record: Record) -> tuple[str, ...]:
    return tuple(caption for caption in record.captions if caption.strip())


def _broken(names: list[str], images: Path) -> dict[str, str]:
    """Decodes each picture; of the broken ones, the name with the reason."""

    def reason(name: str) -> str | None:
        try:
            load_image(images / name)
        except ImageError as error:
            return str(error).replace(str(images / name), name)  # no folder: the report is the same everywhere
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = track(pool.map(reason, names), "check pictures", len(names))
        return {name: why for name, why in zip(names, reasons, strict=True) if why is not None}


def _finding(names: list[str]) -> Finding:
    return Finding(len(names), tuple(names[:EXAMPLES]))


def _check(report: AuditReport, folder: Path, max_faulty: float) -> None:
    kinds = {name.replace("_", " "): value for name, value in vars(report).items() if isinstance(value, Finding)}
    found = "; ".join(f"{f.count} {kind} ({', '.join(f.examples)})" for kind, f in kinds.items() if f.count)
    if not report.kept:
        raise DataError(f"{folder} has no picture with a caption that can be used: {found or 'it is empty'}")
    if report.share > max_faulty:
        raise DataError(
            f"{folder}: {report.share:.2%} of {report.seen} pictures are faulty, more than dataset.max_faulty = "
            f"{max_faulty:g} allows: {found}; mend the data or raise dataset.max_faulty"
        )
