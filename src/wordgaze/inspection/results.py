"""The result of ``wordgaze data check`` as typed values, which its page, its summary and its JSON file show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from wordgaze.data.datasets.audit import AuditReport, Finding
from wordgaze.data.records import Split
from wordgaze.inspection.captions import CaptionStatistics
from wordgaze.inspection.duplicates import NearPair
from wordgaze.inspection.languages import LanguageShare
from wordgaze.inspection.pictures import InspectedPicture

LEFT_OUT_KINDS = {
    "faulty_rows": "rows that cannot be used",
    "duplicate_records": "images with a second record",
    "missing_pictures": "captions whose image is missing",
    "unread_formats": "images of a format that is not read",
    "broken_pictures": "images that cannot be decoded",
    "without_captions": "images with blank captions alone",
    "unnamed_pictures": "images without a record",
}
"""The findings of the audit by which something is left out, in words."""

_ASPECTS = (("under 1:3", 1 / 3), ("1:3 to 4:5", 0.8), ("about square", 1.25), ("5:4 to 3:1", 3.0))
_OVER = "over 3:1"


@dataclass(frozen=True)
class PictureSize:
    """An image and its size in pixels."""

    image: str
    width: int
    height: int


@dataclass(frozen=True)
class PictureStatistics:
    """Of the images that can be decoded: their formats, and the sizes of the smallest, the median and the largest by
    area. ``aspects`` maps ranges of width to height to the number of images."""

    num_pictures: int
    num_bytes: int
    formats: dict[str, int]
    smallest: PictureSize
    median: PictureSize
    largest: PictureSize
    aspects: dict[str, int]

    @classmethod
    def of(cls, pictures: Mapping[str, InspectedPicture]) -> "PictureStatistics | None":
        """None if there is no image."""
        if not pictures:
            return None
        ordered = sorted(
            (PictureSize(name, each.width, each.height) for name, each in pictures.items()),
            key=lambda size: (size.width * size.height, size.image),
        )
        formats = _counted([each.format for each in pictures.values()])
        aspects = dict.fromkeys([*(name for name, _ in _ASPECTS), _OVER], 0)
        for size in ordered:
            ratio = size.width / size.height
            aspects[next((name for name, end in _ASPECTS if ratio <= end), _OVER)] += 1
        return cls(
            num_pictures=len(pictures),
            num_bytes=sum(each.num_bytes for each in pictures.values()),
            formats=formats,
            smallest=ordered[0],
            median=ordered[(len(ordered) - 1) // 2],
            largest=ordered[-1],
            aspects={name: count for name, count in aspects.items() if count},
        )


@dataclass(frozen=True)
class SplitStatistics:
    """The number of images per split. ``given`` of them have their split from the data set, the others are assigned as
    stage ``prepare`` assigns them."""

    images: dict[Split, int]
    given: int


@dataclass(frozen=True)
class DuplicateStatistics:
    """Groups of images with equal files, and pairs of images that look the same."""

    equal: Sequence[Sequence[str]]
    near: Sequence[NearPair]


@dataclass(frozen=True)
class SharedCaptions:
    """The captions of a split that an image of the training split has too, compared by their tokens."""

    num_captions: int
    shared: int
    examples: Sequence[str]


@dataclass(frozen=True)
class LeakStatistics:
    """What one split has in common with another: pairs of images with equal files or that look the same, and captions
    of dev and test that train has too."""

    pictures: Sequence[tuple[str, str]]
    captions: dict[Split, SharedCaptions]


@dataclass(frozen=True)
class Advice:
    """One sentence about what to change. ``stop``: the import stops without it."""

    level: Literal["stop", "warning", "note"]
    text: str


@dataclass(frozen=True)
class DataInspection:
    """Everything that the check found. ``audit`` is the report that the import will write, with all examples, and
    ``uncaptioned`` the number of images that no caption names."""

    dataset: str
    source: str
    tokenizer: str
    max_words: int
    max_faulty: float
    layout: Sequence[str]
    audit: AuditReport
    uncaptioned: int
    splits: SplitStatistics
    pictures: PictureStatistics | None
    captions: CaptionStatistics
    languages: Sequence[LanguageShare]
    duplicates: DuplicateStatistics
    leaks: LeakStatistics
    advice: Sequence[Advice]

    @property
    def stops(self) -> bool:
        """Whether the import would stop."""
        return any(each.level == "stop" for each in self.advice)

    @property
    def left_out(self) -> dict[str, Finding]:
        """The findings by which something is left out, by their description; the others are omitted."""
        found = {label: getattr(self.audit, kind) for kind, label in LEFT_OUT_KINDS.items()}
        return {label: finding for label, finding in found.items() if finding.count}

    def to_json(self) -> dict[str, Any]:
        """Values for :func:`wordgaze.core.files.write_json`, equal for equal data sets."""
        return {**asdict(self), "stops": self.stops, "audit": self.audit.to_json()}


def _counted(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}
