"""The names that columns and keys have in caption files, and what their values look like."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from wordgaze.data.records import Split
from wordgaze.vision.formats import EXTENSIONS, UNREAD_EXTENSIONS

IMAGE_NAMES = (
    "image_id", "image", "image_name", "image_file", "file_name", "image_path", "file_path", "path", "file",
    "img", "img_path", "img_name", "img_id", "picture", "photo", "photo_id", "coco_id", "id", "name", "key", "__key__",
    "url", "image_url", "coco_url",
)  # fmt: skip
"""Names of the column that names the image, in the order of preference."""

PICTURE_KEYS = frozenset({"imageid", "imgid", "cocoid", "photoid", "imagepath", "filepath", "path", "imgpath"})
"""Names, as :func:`canonical` gives them, of columns that differ only where the images differ."""

SEVERAL_NAMES = (
    "references", "captions", "sentences", "reference_strs", "descriptions", "texts", "conversations", "messages",
)  # fmt: skip
"""Names of a column with several captions."""

CAPTION_NAMES = (
    "caption", "beam", "greedy", "text", "comment", "sentence", "prediction", "description", "report", "raw", "title",
    "caption_str", "caption_text", "short_caption", "long_caption", "alt_text", "alt", "reference", "hypothesis",
    "findings", "impression", "utterance",
)  # fmt: skip
"""Names of a column with one caption, in the order of preference."""

SPLIT_NAMES = ("split", "set", "subset", "partition")
SPLITS_BY_NAME: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "restval": "train",  # Karpathy's name for the part of COCO's val that belongs to train
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
"""The splits by the names that files give them, in lower case."""

_SUFFIXES = tuple(EXTENSIONS | UNREAD_EXTENSIONS)  # a picture of a format that is not read is a picture too
_MISSING = frozenset({"", "nan", "null", "none", "n/a", "<na>", "#n/a", "nat"})
_LONGEST_MISSING = 8
_ADDRESS = re.compile(r"https?://\S+")
_NUMBERED_BASES = frozenset(
    {
        "caption",
        "text",
        "comment",
        "sentence",
        "description",
        "report",
        "raw",
        "title",
        "reference",
        "cap",
        "ref",
        "sent",
    }
)
_NUMBERED = re.compile(r"(.*?[a-z])\d+")


@lru_cache(4096)
def canonical(name: str) -> str:
    """A name without regard to case, and without blanks, hyphens and underscores: ``Image Name`` is ``imagename``."""
    return re.sub(r"[\W_]+", "", name.casefold()) or name.strip()


@lru_cache(4096)
def wide_base(name: str) -> str:
    """The name that numbered columns share: ``caption_0`` and ``caption1`` have the base ``caption``; "" if none."""
    match = _NUMBERED.fullmatch(canonical(name))
    if match is None:
        return ""
    base = match[1].removesuffix("s")
    return base if base in _NUMBERED_BASES else ""


def is_picture_name(value: Any) -> bool:
    """Whether a value is the file name, the path or the address of a picture."""
    if isinstance(value, list):
        return bool(value) and all(map(is_picture_name, value))
    if not isinstance(value, str):
        return False
    name = value.strip().lower()
    return bool(_ADDRESS.fullmatch(name)) or ("\n" not in name and name.endswith(_SUFFIXES))


def is_id(value: Any) -> bool:
    """Whether a value can name an image: a text in one line, or an integer."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return False
    return bool(str(value).strip())


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: null, NaN, a blank text, or what programs write for these."""
    if isinstance(value, str):
        return (len(value) < _LONGEST_MISSING and value.strip().lower() in _MISSING) or value.isspace()
    return value is None or value != value  # NaN is not equal to itself


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a text that is one."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def position(name: str, known: Iterable[str]) -> int:
    """The position of a name in a list of known names, or the length of the list."""
    names = list(map(canonical, known))
    wanted = canonical(name)
    return names.index(wanted) if wanted in names else len(names)
