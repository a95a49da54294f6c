"""Which images a captioner was trained on: their checksums, in a file of its folder.

By these the gate of the registry sees whether it compares captioners on images that they know. A captioner that
continues the training of another has the other's images too.
"""

from collections.abc import Iterable
from pathlib import Path

from wordgaze.core.files import sha256
from wordgaze.inference.folder_names import TRAINING_IMAGES


def image_checksums(files: Iterable[Path]) -> frozenset[str]:
    """The SHA-256 checksums of image files; files that are missing are left out."""
    return frozenset(sha256(path) for path in files if path.is_file())


def training_images(folder: Path) -> frozenset[str] | None:
    """The checksums of the images that a captioner was trained on; None if its folder does not state them."""
    path = folder / TRAINING_IMAGES
    return frozenset(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else None


def training_images_text(checksums: Iterable[str]) -> str:
    """The content of the file: one checksum per line, sorted."""
    return "".join(f"{each}\n" for each in sorted(checksums))
