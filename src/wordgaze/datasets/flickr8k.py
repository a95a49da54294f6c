"""Flickr8k: 8,000 photographs with five captions each, in three official splits (Hodosh, Young, Hockenmaier 2013)."""

import logging
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from wordgaze.datasets.fetch import checksums, fetch, unpack
from wordgaze.errors import CaptionsError, DownloadError
from wordgaze.files import fingerprint
from wordgaze.progress import transfer
from wordgaze.records import Record, Split

PUBLIC = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
IMAGES_ZIP = "Flickr8k_Dataset.zip"
TEXT_ZIP = "Flickr8k_text.zip"

_TOKENS = "Flickr8k.token.txt"
_TOKENS_SIZE = 3_395_237  # bytes of the original; copies with edited captions circulate
_SPLIT_LISTS: dict[str, Split] = {
    "Flickr_8k.trainImages.txt": "train",
    "Flickr_8k.devImages.txt": "dev",
    "Flickr_8k.testImages.txt": "test",
}
_FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset")  # the original's spelling, and the one of some mirrors

_log = logging.getLogger(__name__)


class Flickr8k:
    """Flickr8k from its two zips, unchanged.

    ``source`` is a folder or an address (``http(s)://``, ``file://``) that holds both, or empty for the public
    copy. Where it holds a ``SHA256SUMS`` too, the zips are checked against that. Downloads are kept in ``cache``.
    """

    name = "flickr8k"

    def __init__(self, source: str, cache: Path) -> None:
        self._source = source.rstrip("/") or PUBLIC
        self._cache = cache / fingerprint(self._source)

    def collect(self, folder: Path) -> list[Record]:
        """The official splits, sorted by picture name, with the pictures in ``folder/images``.

        Pictures that are captioned but in no official list are removed again, and their number is logged.
        Captions whose picture is absent stay as records, for the audit to count. Raises DownloadError where a zip
        cannot be had or lacks a file, CaptionsError where a line of the captions or of a list is broken.
        """
        sums = {} if self._source == PUBLIC else checksums(self._source)
        text, pictures = self._bring(TEXT_ZIP, sums), self._bring(IMAGES_ZIP, sums)
        captions, splits = _read_text(text)
        images = folder / "images"
        with transfer(f"unpack {IMAGES_ZIP}") as report:
            unpack(pictures, images, place=_picture_name, progress=report)
        present = {path.name for path in images.iterdir()}
        if not present:
            raise DownloadError(f"{pictures} holds no {_FOLDERS[0]}/*.jpg; get the original zip")
        outside = (captions.keys() - splits.keys()) & present
        for name in outside:
            (images / name).unlink()
        if outside:
            _log.info("flickr8k: left out %d pictures that are in no official split", len(outside))
        names = sorted((captions.keys() | splits.keys()) - outside)
        return [Record(name, tuple(captions.get(name, ())), splits.get(name)) for name in names]

    def _bring(self, name: str, sums: dict[str, str]) -> Path:
        with transfer(f"download {name}") as report:
            return fetch(f"{self._source}/{name}", self._cache, sums.get(name), report)


def _picture_name(member: str) -> str | None:
    path = PurePosixPath(member)
    wanted = path.parent.name in _FOLDERS and path.suffix.lower() == ".jpg" and "__MACOSX" not in path.parts
    return path.name if wanted else None


def _text_name(member: str) -> str | None:
    name = PurePosixPath(member).name
    return name if name == _TOKENS or name in _SPLIT_LISTS else None


def _read_text(archive: Path) -> tuple[dict[str, list[str]], dict[str, Split]]:
    """Captions and official split by picture name."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "text"
        unpack(archive, folder, place=_text_name)
        for name in (_TOKENS, *_SPLIT_LISTS):
            if not (folder / name).is_file():
                raise DownloadError(f"{archive} holds no {name}; get the original zip")
        size = (folder / _TOKENS).stat().st_size
        if size != _TOKENS_SIZE:
            _log.warning(
                "%s: %s has %d bytes, the original %d: scores will not compare with published ones",
                archive, _TOKENS, size, _TOKENS_SIZE,
            )  # fmt: skip
        return _captions(folder / _TOKENS, archive), _splits(folder, archive)


def _captions(path: Path, archive: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for where, line in _lines(path, archive):
        key, tab, caption = line.partition("\t")
        name, _, number = key.rpartition("#")
        if not (tab and name and number.isdecimal()):
            raise CaptionsError(f"{where} is not 'name.jpg#number<TAB>caption': {line[:80]!r}; mend the line")
        captions.setdefault(name, []).append(caption.strip())
    return captions


def _splits(folder: Path, archive: Path) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for file, split in _SPLIT_LISTS.items():
        for where, line in _lines(folder / file, archive):
            other = splits.setdefault(line.strip(), split)
            if other != split:
                raise CaptionsError(f"{where}: {line.strip()!r} is in the {other} split too; remove it from one")
    return splits


def _lines(path: Path, archive: Path) -> list[tuple[str, str]]:
    """The lines that are not blank, each with the place to name in an error. Only a newline ends a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CaptionsError(f"{archive}: {path.name} is not UTF-8 ({error.reason}); get the original zip") from error
    lines = enumerate(text.split("\n"), start=1)
    return [(f"{archive}: {path.name}:{number}", line) for number, line in lines if line.strip()]
