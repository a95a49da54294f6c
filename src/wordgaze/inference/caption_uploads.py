"""Captions for many pictures: a row each, whatever is wrong with one of them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePosixPath
from threading import Event

from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.data.datasets.source import is_picture
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_files import BATCH
from wordgaze.inference.captioner import Captioner, caption_ensemble
from wordgaze.inference.table import Row
from wordgaze.inference.uploads import (
    LIMITS,
    Limits,
    Picture,
    Pictures,
    open_upload,
    pictures_of_zip,
    read_upload,
    shown_name,
    skip,
)
from wordgaze.vision.images import MAX_PIXELS

THUMBNAIL = 160  # pixels, the long side


def find_uploads(sources: Iterable[Path], limits: Limits = LIMITS) -> Pictures:
    """The pictures in files, folders and zips, in the order given; a folder is gone through in the order of names.

    Files that are no pictures by their name are skipped, hidden ones in silence. Raises DownloadError for a zip that
    is not safe to read.
    """
    parts = [_found(path, limits) for path in sources]
    skipped = chain.from_iterable(part.skipped for part in parts)
    return Pictures(sum(part.total for part in parts), tuple(skipped), chain.from_iterable(p.each for p in parts))


def caption_uploads(
    captioners: Sequence[Captioner],
    pictures: Pictures,
    decode: GenerationConfig,
    cancel: Event,
    batch: int = BATCH,
    seed: int = 0,
) -> Iterator[Row]:
    """Yields ``pictures.total`` rows, in the pictures' order, or fewer where ``cancel`` is set: that ends it between
    two batches.

    A batch is ``batch`` pictures, or fewer of large ones, and no more than that is ever held. Several captioners are
    an ensemble. Raises WordgazeError for what is no picture's fault, as a required word that is unknown.
    """
    for group in _groups(pictures.each, batch):
        if cancel.is_set():
            return
        images = [opened for _, opened in group if isinstance(opened, Image.Image)]
        found = iter(caption_ensemble(captioners, images, decode, seed) if images else ())
        for name, opened in group:
            if isinstance(opened, DataError):
                yield Row(name, error=str(opened))
            else:
                best = next(found)[0]
                yield Row(name, best.text, best.log_prob, math.exp(best.log_prob), None, _thumbnail(opened))


def _found(path: Path, limits: Limits) -> Pictures:
    if path.is_dir():
        inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        shown = [name for name in inside if not any(part.startswith(".") for part in name.split("/"))]
        return _loose((path / name, name) for name in shown)
    if path.suffix.lower() == ".zip":
        return pictures_of_zip(path, path.name, limits)
    return _loose([(path, path.name)])


def _loose(files: Iterable[tuple[Path, str]]) -> Pictures:
    wanted, skipped = [], []
    for path, name in files:
        if is_picture(PurePosixPath(name)):
            wanted.append(Picture(shown_name(name), partial(read_upload, path, name)))
        else:
            skipped.append(skip(name))
    return Pictures(len(wanted), tuple(skipped), iter(wanted))


Opened = tuple[str, Image.Image | DataError]


def _groups(pictures: Iterator[Picture], most: int) -> Iterator[list[Opened]]:
    """At most so many pictures, and one more than fit into MAX_PIXELS, a group."""
    group: list[Opened] = []
    pixels = 0
    for picture in pictures:
        opened = _opened(picture)
        group.append((picture.name, opened))
        if isinstance(opened, Image.Image):
            pixels += opened.width * opened.height
        if len(group) == most or pixels >= MAX_PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _opened(picture: Picture) -> Image.Image | DataError:
    try:
        return open_upload(picture.read(), picture.name)
    except DataError as error:
        return error


def _thumbnail(image: Image.Image) -> bytes:
    """Shrinks the picture in place."""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    file = BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()
