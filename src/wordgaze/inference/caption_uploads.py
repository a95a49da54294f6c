"""Captions for the images that a user uploads: one row per image, including those that could not be opened."""

import math
from collections.abc import Iterator, Sequence
from io import BytesIO
from threading import Event

from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference.caption_stream import caption_stream
from wordgaze.inference.captioned import CaptionedImage, NamedImage
from wordgaze.inference.captioner import Captioner
from wordgaze.inference.inputs import BATCH_SIZE
from wordgaze.inference.table import Row
from wordgaze.inference.uploads import Picture, Pictures, open_upload

_THUMBNAIL = 160  # pixels, the long side


def caption_uploads(
    captioners: Sequence[Captioner],
    pictures: Pictures,
    generation_config: GenerationConfig,
    cancel: Event,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Iterator[Row]:
    """Yields ``pictures.total`` rows in the order of the pictures, or fewer when ``cancel`` is set.

    See :func:`wordgaze.inference.caption_stream.caption_stream` for batches, ensembles and errors.
    """
    images = map(_open, pictures.each)
    results = caption_stream(captioners, images, generation_config, cancel=cancel, batch_size=batch_size, seed=seed)
    return map(_row, results)


def _open(picture: Picture) -> NamedImage:
    try:
        return NamedImage(picture.name, open_upload(picture.read(), picture.name))
    except DataError as error:
        return NamedImage(picture.name, error)


def _row(result: CaptionedImage) -> Row:
    if result.image is None:
        return Row(result.name, error=str(result.error))
    best, thumbnail = result.captions[0], _thumbnail(result.image)
    return Row(
        result.name, best.text, best.log_prob, math.exp(best.log_prob), None, thumbnail, best.confidence,
        is_outlier=None if best.confidence is None else best.is_outlier,
    )  # fmt: skip


def _thumbnail(image: Image.Image) -> bytes:
    """A small JPEG of the image, which is shrunk in place."""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = BytesIO()
    image.save(file, "JPEG")
    return file.getvalue()
