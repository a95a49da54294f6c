"""What captioning many images takes and gives, whichever runtime does it."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from PIL import Image

from wordgaze.core.errors import DataError
from wordgaze.generation.outputs import Caption

ImageSource: TypeAlias = Callable[[], Image.Image] | DataError
"""Opens an image, or raises a DataError; or that error where it is known already."""


class NamedImage(NamedTuple):
    """An RGB image and its name, or the error that was raised when the image was opened."""

    name: str
    image: Image.Image | DataError


class CaptionedImage(NamedTuple):
    """The captions of one image, best first; for an image that could not be opened, ``error`` and no captions."""

    name: str
    image: Image.Image | None
    captions: list[Caption]
    error: DataError | None = None


def open_source(source: ImageSource) -> NamedImage:
    """The image of a source, without a name."""
    try:
        return NamedImage("", source if isinstance(source, DataError) else source())
    except DataError as error:
        return NamedImage("", error)
