"""The captioners that come with wordgaze, a folder each beside this file."""

from importlib.resources import files
from pathlib import Path

from wordgaze.inference.folder_names import CARD

PHOTOS = "photos"
"""The captioner for photographs, which ``wordgaze pack`` has written."""


def packaged_captioner(name: str) -> Path | None:
    """The folder of a captioner that comes with wordgaze; None if there is none of this name."""
    folder = files(__name__) / name
    return folder if name == PHOTOS and isinstance(folder, Path) and (folder / CARD).is_file() else None
