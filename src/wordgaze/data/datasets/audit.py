"""The audit of a data set: every image is decoded once, and faulty records and images are dropped and counted."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wordgaze.core.errors import DataError, ImageError
from wordgaze.core.parallel import available_cpus
from wordgaze.core.progress import track
from wordgaze.data.records import Fault, Record
from wordgaze.vision.images import load_image

_NUM_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """The number of faults of one kind, with the first few examples."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """The result of :func:`audit`: ``seen`` = ``kept`` + all counts except ``blank_captions``.

    ``seen`` counts records, images without a record, and rows that were left out. If a record has several faults, the
    first in the order of the fields counts. Examples are image names, relative to ``images/``, and for rows their place
    and what is wrong.
    """

    seen: int
    kept: int
    faulty_rows: Finding
    duplicate_records: Finding
    missing_pictures: Finding
    broken_pictures: Finding
    without_captions: Finding
    unnamed_pictures: Finding
    blank_captions: Finding

    @property
    def share(self) -> float:
        """The fraction of faulty records and images, from 0 to 1."""
        return (self.seen - self.kept) / self.seen if self.seen else 0.0

    def to_json(self) -> dict[str, Any]:
        """Values for :func:`wordgaze.core.files.write_json`, equal for equal data sets."""
        return {**asdict(self), "share": self.share}


def audit(
    records: Sequence[Record], folder: Path, max_faulty: float, faults: Sequence[Fault] = ()
) -> tuple[list[Record], AuditReport]:
    """The usable records, in their order and without blank captions, and a report about the others and the ``faults``.

    Images are in ``folder/images``. Raises DataError if more than the fraction ``max_faulty`` is faulty or if no record
    is left. Files are not changed.
    """
    images = folder / "images"
    present = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    first: dict[str, Record] = {}
    duplicates = [record.image for record in records if first.setdefault(record.image, record) is not record]
    unique = [replace(record, captions=_nonblank(record)) for record in first.values()]
    broken = _broken([record.image for record in unique if record.image in present], images)
    sound = [record for record in unique if record.image in present and record.image not in broken]
    kept = [record for record in sound if record.captions]
    unnamed = sorted(present - first.keys())
    report = AuditReport(
        seen=len(records) + len(unnamed) + len(faults),
        kept=len(kept),
        faulty_rows=_finding(list(map(str, faults))),
        duplicate_records=_finding(duplicates),
        missing_pictures=_finding([record.image for record in unique if record.image not in present]),
        broken_pictures=_finding(list(broken.values())),
        without_captions=_finding([record.image for record in sound if not record.captions]),
        unnamed_pictures=_finding(unnamed),
        blank_captions=_finding([r.image for r in first.values() for c in r.captions if not c.strip()]),
    )
    _check(report, folder, max_faulty)
    return kept, report


def _nonblank(record: Record) -> tuple[str, ...]:
    return tuple(caption for caption in record.captions if caption.strip())


def _broken(names: list[str], images: Path) -> dict[str, str]:
    """Decodes each image and returns the names of the broken ones, each with the reason."""

    def reason(name: str) -> str | None:
        try:
            load_image(images / name)
        except ImageError as error:
            return str(error).replace(str(images / name), name)  # without the folder, so the report is equal everywhere
        return None

    with ThreadPoolExecutor(available_cpus()) as pool:
        reasons = track(pool.map(reason, names), "check images", len(names))
        return {name: why for name, why in zip(names, reasons, strict=True) if why is not None}


def _finding(names: list[str]) -> Finding:
    return Finding(len(names), tuple(names[:_NUM_NAMED]))


def _check(report: AuditReport, folder: Path, max_faulty: float) -> None:
    kinds = {name.replace("_", " "): value for name, value in vars(report).items() if isinstance(value, Finding)}
    faults = "; ".join(f"{f.count} {kind} ({', '.join(f.examples)})" for kind, f in kinds.items() if f.count)
    if not report.kept:
        raise DataError(f"{folder} has no usable image with a caption: {faults or 'it is empty'}")
    if report.share > max_faulty:
        raise DataError(
            f"{folder}: {report.share:.2%} of {report.seen} images are faulty, more than dataset.max_faulty = "
            f"{max_faulty:g}: {faults}; correct the data or raise dataset.max_faulty"
        )
