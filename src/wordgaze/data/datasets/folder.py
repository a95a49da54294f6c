"""Your own images: a folder of them with caption files in any format that ``wordgaze score`` reads."""

import logging
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wordgaze.core.errors import DownloadError
from wordgaze.core.printable import escaped
from wordgaze.data.datasets.base import ALL, Collected, Subset, gather, split_or_fault
from wordgaze.data.datasets.caption_files import read_captions_of
from wordgaze.data.datasets.fetch import local_path
from wordgaze.data.datasets.naming import NamedPictures, flat_names, name_pictures
from wordgaze.data.datasets.source import Found, Source, is_picture
from wordgaze.data.picture_matching import PictureIndex
from wordgaze.data.readers.captions import ById
from wordgaze.data.records import Fault, Record
from wordgaze.vision.formats import EXTENSIONS, UNREAD_EXTENSIONS

_FEW = 0.5  # of the captioned images: fewer are a mistake in the names rather than missing files

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderContents:
    """What a folder of images and caption files holds.

    ``records`` are sorted by image name, also those without a picture. ``pictures`` maps ``Record.image`` to the file
    of the picture, ``names`` maps it to the name as written in the caption file, and ``column`` is the column or key
    that has these names ("" for the id). ``uncaptioned`` are pictures that no caption names, ``faults`` rows that are
    left out, and ``layout`` describes each caption file. ``advice`` tells in one sentence what to do if few or none of
    the pictures were found, and is "" otherwise.
    """

    records: list[Record]
    pictures: dict[str, Found]
    faults: list[Fault] = field(default_factory=list)
    layout: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    column: str = ""
    uncaptioned: list[Found] = field(default_factory=list)
    advice: str = ""


class Folder:
    """A local folder ``source`` with images, nested in any way, and caption files.

    ``captions`` is the path of the caption file, absolute or relative to ``source``; "" if the caption files there
    belong together. They name images in any way that :class:`PictureIndex` understands, and may have a column or key
    ``split``. ``image_column`` and ``caption_column`` name the columns where they cannot be told.
    """

    name = "folder"

    def __init__(
        self,
        source: str,
        captions: str,
        cache: Path,
        subset: Subset = ALL,
        image_column: str = "",
        caption_column: str = "",
    ) -> None:
        if local_path(source) is None:
            raise DownloadError(f"dataset.source is {source}; the data set folder needs a local folder")
        self._source = Source(source, cache)
        self._named, self._subset = captions, subset
        self._columns = (image_column, caption_column)

    def read(self) -> FolderContents:
        """What the folder holds; nothing is copied. Raises CaptionsError, which names file and row, if the captions
        cannot be used."""
        captions = read_captions_of(self._source, self._named, *self._columns)
        return read_contents(captions, self._source)

    def collect(self, folder: Path) -> Collected:
        """The selected records, sorted by image name. If there are several ``a.jpg``, ``sub/a.jpg`` becomes
        ``sub__a.jpg``.

        Images without captions are omitted, and their number is logged. Raises CaptionsError, which names file and
        row, if the captions cannot be used, and DownloadError if none of their images is there.
        """
        return collect_contents(self.read(), self._source, self._subset, folder)


def read_contents(captions: ById[list[str]], source: Source) -> FolderContents:
    """The images that ``captions`` name and their files in ``source``."""
    by_path = {file.path: file for file in source.find(_may_be_picture)}
    others = {file.path: file for file in source.find(lambda path: not _may_be_picture(path))}
    index = PictureIndex(by_path)
    named = name_pictures(captions, index, PictureIndex(others))
    keys: dict[PurePosixPath, list[str]] = {}
    for key, name in named.names.items():
        keys.setdefault(named.paths.get(key) or PurePosixPath(name.replace("\\", "/")), []).append(key)
    images = flat_names(keys.keys())
    files = by_path | {path: others[path] for path in named.paths.values() if path in others}
    splits = {path: split_or_fault(captions, ids) for path, ids in keys.items()}
    return FolderContents(
        records=sorted(
            (
                Record(images[path], tuple(text for key in keys[path] for text in captions[key]), split)
                for path, split in splits.items()
                if not isinstance(split, Fault)
            ),
            key=lambda record: record.image,
        ),
        pictures={images[path]: files[path] for path in keys if path in files},
        faults=[*captions.faults, *named.faults, *(each for each in splits.values() if isinstance(each, Fault))],
        layout=captions.layout,
        names={images[path]: named.names[ids[0]] for path, ids in keys.items()},
        column=named.column,
        uncaptioned=[by_path[path] for path in sorted(by_path.keys() - keys.keys())],
        advice=_advice(captions, named, index, source),
    )


def collect_contents(contents: FolderContents, source: Source, subset: Subset, folder: Path) -> Collected:
    """Copies the selected pictures to ``folder/images``. Raises DownloadError if there is none at all."""
    if contents.advice and not contents.pictures:
        raise DownloadError(contents.advice)
    if left := len(contents.uncaptioned):
        total = left + len(contents.pictures)
        _log.info("%d of %d images in %s have no captions and are omitted", left, total, source.address)
    records = gather(source, contents.records, contents.pictures, subset, folder)
    return Collected(records, contents.faults, contents.advice)


def _advice(captions: ById[list[str]], named: NamedPictures, index: PictureIndex, source: Source) -> str:
    """What to do where few of the pictures were found: a name as written beside a name that is there."""
    if len(named.paths) >= _FEW * max(1, len(captions)):
        return ""
    missing = next((key for key in named.names if key not in named.paths), None)
    if missing is None:
        return f"{source.address} has {len(named.paths)} of the {len(captions)} captioned images; {named.faults[0]}"
    nearest = index.nearest(named.names[missing])
    if nearest is None:
        known = ", ".join(sorted(EXTENSIONS))
        there = f"it holds no images ({known}); set dataset.source to the folder that holds them"
    else:
        there = (
            f"an image there is {escaped(str(nearest))!r}; set dataset.image_column to the column that has such names, "
            "or dataset.source to the folder that holds the images"
        )
    what = f"{len(named.paths) or 'none'} of the {len(captions)} captioned images"
    place = captions.places.get(missing, "")
    return f"{source.address} has {what}: {place} names {named.names[missing]!r}, and {there}"


def _may_be_picture(path: PurePosixPath) -> bool:
    """Whether a file of this name is an image, of a format that is read or not."""
    return is_picture(path) or (path.suffix.lower() in UNREAD_EXTENSIONS and is_picture(path.with_suffix(".png")))
