"""Reads bounding boxes from the files of two data sets: image name → its boxes.

Boxes are in pixels of the original images, right and bottom exclusive. If an image was resized, its boxes have to be
scaled accordingly.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from wordgaze.core.errors import DataError
from wordgaze.core.printable import reason_of
from wordgaze.data.records import Box
from wordgaze.text.objects import singular

_MAX_COORDINATE = 10**6
"""The largest coordinate in pixels; also those of integers that no file of boxes has, and of infinity."""

Boxes = dict[str, tuple[Box, ...]]

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s/\]]+)+ ([^\]]*)\]")
_NO_NOUNS = {
    "all", "another", "both", "each", "eight", "five", "four", "he", "her", "hers", "herself", "him", "himself", "his",
    "i", "it", "its", "itself", "me", "none", "one", "ones", "other", "others", "seven", "she", "six", "some", "that",
    "their", "theirs", "them", "themselves", "these", "they", "this", "those", "three", "two", "us", "we", "what",
    "which", "who", "whom", "you",
}  # fmt: skip


def boxes_of_path(path: Path) -> Boxes:
    """The boxes of a COCO instances file, or of a folder of Flickr30k Entities; see the two functions below."""
    return flickr30k_boxes(path) if path.is_dir() else coco_boxes(path)


def coco_boxes(path: Path) -> Boxes:
    """The boxes of a COCO instances file (``instances_val2017.json``) by the ``file_name`` of the images, in its order.

    A noun is the name of the category. Fractions of pixels are rounded outwards. Boxes without area are omitted, and
    so are crowds: one box around many objects. Images without annotations have no boxes. Raises DataError, which names
    the place, if the file is missing, of another format or broken.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; give a COCO instances file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({reason_of(error)}); download the file again") from error
    names: dict[int, str] = {}
    for _, category in _entries(path, content, "categories", ("id", "name")):
        names[category["id"]] = str(category["name"])
    pictures: dict[int, str] = {}
    for _, image in _entries(path, content, "images", ("id", "file_name")):
        pictures[image["id"]] = str(image["file_name"])
    boxes: dict[str, list[Box]] = {name: [] for name in pictures.values()}
    for place, annotation in _entries(path, content, "annotations", ("image_id", "category_id", "bbox")):
        for key, known in (("image_id", pictures), ("category_id", names)):
            if annotation[key] not in known:
                raise DataError(
                    f"{place} has the {key} {annotation[key]!r:.100}, which the file does not define; correct it"
                )
        corners = _corners(place, annotation["bbox"])
        if corners and not annotation.get("iscrowd"):
            boxes[pictures[annotation["image_id"]]].append(Box(names[annotation["category_id"]], corners))
    return {name: tuple(of_image) for name, of_image in boxes.items()}


def flickr30k_boxes(folder: Path) -> Boxes:
    """The boxes of Flickr30k Entities (Plummer et al. 2015); ``folder`` contains ``Annotations/`` and ``Sentences/``.

    An object is a coreference chain of phrases across the captions of an image. A box of a chain is returned once for
    each of its nouns: the last word of each phrase in lower case and in the singular, without pronouns and numbers.
    Chains without a box (not visible, or the whole scene) are omitted. Raises DataError, which names the file, if one
    is missing, broken, or declares a document type (XML entities could exhaust the memory).
    """
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise DataError(f"{folder} contains no Annotations/*.xml; give the unpacked folder of Flickr30k Entities")
    boxes: Boxes = {}
    for path in files:
        nouns = _nouns(folder / "Sentences" / f"{path.stem}.txt")
        of_image = [Box(noun, box) for chain, box in _chain_boxes(path) for noun in nouns.get(chain, ())]
        boxes[f"{path.stem}.jpg"] = tuple(dict.fromkeys(of_image))
    return boxes


def _entries(path: Path, content: Any, name: str, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a list of a COCO file, each with its place for errors; they have all ``keys``."""
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path} has no list of {name}; give a COCO instances file, not one of captions")
    for number, entry in enumerate(entries):
        place = f"{path}: {name}[{number}]"
        if not isinstance(entry, dict) or not entry.keys() >= set(keys):
            raise DataError(f"{place} is not an object with {', '.join(keys)}; download the file again")
        for key in keys:
            if key.endswith("id") and type(entry[key]) is not int:
                raise DataError(
                    f"{place} has the {key} {entry[key]!r:.100}, which is not an integer; download the file again"
                )
        yield place, entry


def _corners(place: str, bbox: Any) -> tuple[int, int, int, int] | None:
    """COCO's (x, y, width, height) → (left, top, right, bottom), None for a box without area."""
    numbers = bbox if isinstance(bbox, list) else []
    if len(numbers) != 4 or not all(type(n) in (int, float) and abs(n) <= _MAX_COORDINATE for n in numbers):
        raise DataError(f"{place} has the bbox {bbox!r:.100} instead of [x, y, width, height]; download the file again")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return None
    return math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)


def _nouns(path: Path) -> dict[str, list[str]]:
    """The nouns of each chain of an image, in the order of its captions."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing, but its image has annotations; download Flickr30k Entities again"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); download Flickr30k Entities again") from error
    nouns: dict[str, list[str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        phrases = _PHRASE.findall(line)
        if len(phrases) != line.count("[/EN#"):
            raise DataError(
                f"{path}:{number} has a phrase that is not '[/EN#id/type words]': {line[:80]!r}; correct it"
            )
        for chain, phrase in phrases:
            words = [word for word in phrase.lower().split() if word[0].isalpha()]
            if words and words[-1] not in _NO_NOUNS:
                nouns.setdefault(chain, []).append(singular(words[-1]))
    return {chain: list(dict.fromkeys(of_chain)) for chain, of_chain in nouns.items()}


class _PlainXml(ElementTree.TreeBuilder):
    """Builds a tree and refuses a document type, in which entities would be declared; these files have none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called before the declarations of a document type are read."""
        raise ValueError(f"it declares the document type {name!r}")


def _chain_boxes(path: Path) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """(chain, box) for every box of an annotation file and every chain to which it belongs."""
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_PlainXml()))  # nosec B314  # no entities
        for thing in root.iter("object"):
            for box in thing.iter("bndbox"):
                left, top, right, bottom = (int(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax"))
                if (
                    left > right
                    or top > bottom
                    or not all(abs(n) <= _MAX_COORDINATE for n in (left, top, right, bottom))
                ):
                    raise ValueError(f"it has the box {(left, top, right, bottom)!r:.100}")
                # The file counts from 1 and includes the last pixel, as the authors' reader does.
                corners = (max(left - 1, 0), max(top - 1, 0), max(right, 1), max(bottom, 1))
                yield from ((name.text or "", corners) for name in thing.iter("name"))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(
            f"{path} is not an annotation of Flickr30k Entities ({error}); download the file again"
        ) from error
