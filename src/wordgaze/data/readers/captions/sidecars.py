"""Captions in one file for each picture: ``a.txt`` beside ``a.jpg``, loose or in the tars of WebDataset."""

import json
import re
from pathlib import Path
from typing import Any

from wordgaze.core.errors import CaptionsError
from wordgaze.core.printable import reason_of
from wordgaze.data.readers.captions.encodings import decoded

SIDECAR_SUFFIXES = (".txt", ".caption", ".captions", ".json")
"""The endings of such files, the preferred one first: a picture may have text and metadata."""
_BOXES = re.compile(r"[-+\d.eE]+(?:[\s,;]+[-+\d.eE]+){3,}")  # as detectors of objects have them beside the pictures


def sidecar_values(path: Path, data: bytes) -> dict[str, Any]:
    """The values that the file of one picture has: each line of a text is a caption, and JSON is an object or captions.

    Raises CaptionsError if it is not text or broken JSON.
    """
    text = decoded(path, data)
    if path.suffix.lower() != ".json":
        if _BOXES.fullmatch(text.strip()):
            raise CaptionsError(f"{path} holds boxes or other numbers, which are not captions; remove it")
        return {"captions": [line for line in text.split("\n") if line.strip()]}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaptionsError(f"{path} is broken JSON ({reason_of(error)}); correct it") from error
    return value if isinstance(value, dict) else {"captions": value}
