"""The audit of a data set: every image is decoded once, and faulty records and images are dropped and counted."""

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wordgaze.core.errors import DataError, ImageError
from wordgaze.core.parallel import available_cpus
from wordgaze.core.progress import track
from wordgaze.data.records import Fault, Record
from wordgaze.vision.decoding_process import decode_safely
from wordgaze.vision.formats import UnreadFormatError

_NUM_NAMED = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """The number of faults of one kind, with the first few examples."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class AuditReport:
    """The result of :func:`audit`: ``seen`` = ``kept`` + all counts except ``blank_captions``.

    ``seen`` counts records, images without a record, and rows that were left out. If a record has several faults, the
    first in the order of the fields counts. ``unread_formats`` are images that are there and sound, as far as can be
    told, in a format that is not read. Examples are image names, relative to ``images/``, for rows their place, and for
    images that cannot be opened the reason.
    """

    seen: int
    kept: int
    faulty_rows: Finding
    duplicate_records: Finding
    missing_pictures: Finding
    unread_formats: Finding
    broken_pictures: Finding
    without_captions: Finding
    unnamed_pictures: Finding
    blank_captions: Finding

    @property
    def share(self) -> float:
        """The fraction of faulty records and images, from 0 to 1."""
        return (self.seen - self.kept) / self.seen if self.seen else 0.0

    def __str__(self) -> str:
        """One line that says what was left out and why; "" if nothing was."""
        kinds = {name.replace("_", " "): value for name, value in vars(self).items() if isinstance(value, Finding)}
        kinds = {kind if f.count > 1 else kind.removesuffix("s"): f for kind, f in kinds.items()}
        shown = {kind: (f.count, ", ".join(f.examples[:_NUM_NAMED])) for kind, f in kinds.items() if f.count}
        return "; ".join(f"{count} {kind} ({examples})" for kind, (count, examples) in shown.items())

    def to_json(self) -> dict[str, Any]:
        """Values for :func:`wordgaze.core.files.write_json`, equal for equal data sets."""
        return {**asdict(self), "share": self.share}


def audit(
    records: Sequence[Record], folder: Path, max_faulty: float, faults: Sequence[Fault] = (), advice: str = ""
) -> tuple[list[Record], AuditReport]:
    """The usable records, in their order and without blank captions, and a report about the others and the ``faults``.

    Images are in ``folder/images``. What is left out is logged in one line. Raises DataError, which gives the
    ``advice`` if there is one, if more than the fraction ``max_faulty`` is faulty or if no record is left. Files are
    not changed.
    """
    images = folder / "images"
    present = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    names = list(dict.fromkeys(record.image for record in records if record.image in present))
    kept, report = audit_records(records, present, *_unusable(names, images), faults)
    if refusal := refused(report, folder, max_faulty, advice):
        raise DataError(refusal)
    if left := str(report):
        _log.info("left out of %d images: %s", report.seen, left)
    return kept, report


def audit_records(
    records: Sequence[Record],
    present: Collection[str],
    unread: Mapping[str, str],
    broken: Mapping[str, str],
    faults: Sequence[Fault] = (),
    max_examples: int | None = _NUM_NAMED,
) -> tuple[list[Record], AuditReport]:
    """As :func:`audit`, without any file.

    ``present`` are the images that exist; of these, ``unread`` and ``broken`` say why an image cannot be used. Each
    finding has ``max_examples`` examples; None gives all.
    """

    def finding(names: Sequence[str]) -> Finding:
        return Finding(len(names), tuple(names[:max_examples]))

    first: dict[str, Record] = {}
    duplicates = [record.image for record in records if first.setdefault(record.image, record) is not record]
    unique = [replace(record, captions=_nonblank(record)) for record in first.values()]
    usable = set(present) - unread.keys() - broken.keys()
    sound = [record for record in unique if record.image in usable]
    kept = [record for record in sound if record.captions]
    unnamed = sorted(set(present) - first.keys())
    report = AuditReport(
        seen=len(records) + len(unnamed) + len(faults),
        kept=len(kept),
        faulty_rows=finding(list(map(str, faults))),
        duplicate_records=finding(duplicates),
        missing_pictures=finding([record.image for record in unique if record.image not in present]),
        unread_formats=finding(list(unread.values())),
        broken_pictures=finding(list(broken.values())),
        without_captions=finding([record.image for record in sound if not record.captions]),
        unnamed_pictures=finding(unnamed),
        blank_captions=finding([r.image for r in first.values() for c in r.captions if not c.strip()]),
    )
    return kept, report


def _nonblank(record: Record) -> tuple[str, ...]:
    return tuple(caption for caption in record.captions if caption.strip())


def _unusable(names: list[str], images: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Decodes each image and returns those of a format that is not read, and the broken ones, each with the reason."""

    def error_of(name: str) -> ImageError | None:
        try:
            decode_safely(images / name)
        except ImageError as error:
            return error
        return None

    with ThreadPoolExecutor(available_cpus()) as pool:
        errors = dict(zip(names, track(pool.map(error_of, names), "check images", len(names)), strict=True))
    # Without the folder, so that the report is equal everywhere.
    reasons = {name: str(error).replace(str(images / name), name) for name, error in errors.items() if error}
    unread = {name: why for name, why in reasons.items() if isinstance(errors[name], UnreadFormatError)}
    return unread, {name: why for name, why in reasons.items() if name not in unread}


def refused(report: AuditReport, folder: Path | str, max_faulty: float, advice: str = "") -> str:
    """Why the data set in ``folder`` cannot be used, in one line with the way out; "" if it can."""
    more = f". {advice}" if advice else ""
    if not report.kept:
        return f"{folder} has no usable image with a caption: {str(report) or 'it is empty'}{more}"
    if report.share > max_faulty:
        return (
            f"{folder}: {report.share:.2%} of {report.seen} images are faulty, more than dataset.max_faulty = "
            f"{max_faulty:g}: {report}; correct the data or raise dataset.max_faulty{more}"
        )
    return ""
