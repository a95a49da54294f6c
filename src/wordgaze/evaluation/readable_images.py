"""Images that a user gives to be measured on: one that cannot be read does not cost the others."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wordgaze.core.errors import ImageError
from wordgaze.vision.decoding_process import decode_reduced

if TYPE_CHECKING:
    from wordgaze.vision.images import ReducedImage

_log = logging.getLogger(__name__)


def readable_images(paths: Iterable[Path]) -> "Iterator[tuple[Path, ReducedImage]]":
    """Each path with its image. An image that cannot be read is left out, and named in a warning."""
    for path in paths:
        try:
            yield path, decode_reduced(path, None, str(path))
        except ImageError as error:
            _log.warning("%s; it is left out", error)
