"""The images that the page shows: a sample, the oddest, and those that look the same; as small JPEGs."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wordgaze.core.errors import DataError
from wordgaze.data.datasets.source import Found
from wordgaze.data.preparation import TokenizedCaption
from wordgaze.data.records import Record, hash_fraction
from wordgaze.inspection.pictures import InspectedPicture, read_pictures
from wordgaze.inspection.results import DataInspection
from wordgaze.vision.decoding_process import decode_reduced

SAMPLE_SIZE = 24
PAIRS = 12
THUMBNAIL_SIDE = 280  # pixels of the longer side
_GROUP = 4  # images of a group of equal files


@dataclass(frozen=True)
class ShownPicture:
    """An image with all its captions, and why it is shown; empty for one of the sample."""

    image: str
    captions: tuple[str, ...]
    split: str
    size: str
    why: str = ""


@dataclass(frozen=True)
class ChosenPictures:
    """The images of the page: the oddest, a sample, and groups of images that are equal or look the same, each with
    what they have in common."""

    oddest: Sequence[ShownPicture]
    sample: Sequence[ShownPicture]
    duplicates: Sequence[tuple[str, Sequence[ShownPicture]]]

    @property
    def names(self) -> list[str]:
        """The names of all images, each once."""
        groups = (shown for _, members in self.duplicates for shown in members)
        return list(dict.fromkeys(shown.image for shown in (*self.oddest, *self.sample, *groups)))


def choose_pictures(
    records: Sequence[Record],
    captions: Sequence[TokenizedCaption],
    pictures: Mapping[str, InspectedPicture],
    inspection: DataInspection,
) -> ChosenPictures:
    """The images to show; the sample depends on the names of the images alone, so that it is the same again."""
    by_name = {record.image: record for record in records}

    def shown(name: str, why: str = "") -> ShownPicture:
        record, picture = by_name[name], pictures[name]
        return ShownPicture(name, record.captions, record.split or "", f"{picture.width} × {picture.height}", why)

    sample = sorted(by_name, key=lambda name: hash_fraction(f"sample {name}"))[:SAMPLE_SIZE]
    groups = [("equal files", names[:_GROUP]) for names in inspection.duplicates.equal]
    groups += [(f"{pair.distance} of 64 bits differ", [pair.first, pair.second]) for pair in inspection.duplicates.near]
    leaks = {name for pair in inspection.leaks.pictures for name in pair}
    groups.sort(key=lambda group: not leaks.issuperset(group[1]))  # what is in two splits comes first
    return ChosenPictures(
        [shown(name, why) for name, why in _oddest(captions, inspection).items()],
        [shown(name) for name in sorted(sample)],
        [(what, [shown(name) for name in names]) for what, names in groups[:PAIRS]],
    )


def _oddest(captions: Sequence[TokenizedCaption], inspection: DataInspection) -> dict[str, str]:
    """The images with the shortest and the longest caption, the smallest and the largest, each with why."""
    odd: list[tuple[str, str]] = []
    if captions:
        ordered = sorted(captions, key=lambda each: (len(each.tokens), len(each.text), each.image))
        odd += [(ordered[0].image, "shortest caption"), (ordered[-1].image, "longest caption")]
    sizes = inspection.pictures
    if sizes and (sizes.smallest.width, sizes.smallest.height) != (sizes.largest.width, sizes.largest.height):
        odd += [(sizes.smallest.image, "smallest image"), (sizes.largest.image, "largest image")]
    reasons: dict[str, str] = {}
    for name, why in odd:
        reasons[name] = f"{reasons[name]}, {why}" if name in reasons else why
    return reasons


def draw_thumbnails(names: Sequence[str], files: Mapping[str, Found]) -> dict[str, str]:
    """Thumbnails as data URIs; an image that cannot be read any more has none."""
    drawn = {}
    for name, content in read_pictures({name: files[name] for name in names}):
        try:
            picture = decode_reduced(content, THUMBNAIL_SIDE, name).picture
        except DataError:
            continue
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        drawn[name] = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return drawn
