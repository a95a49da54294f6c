"""Where the named things are, from the box files of two data sets: picture name → its boxes.

Both readers give boxes in pixels of the data set's own pictures, right and bottom exclusive. A picture that was made
larger or smaller needs its boxes scaled alike.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from wordgaze.core.errors import DataError
from wordgaze.data.records import Box
from wordgaze.text.objects import singular

Boxes = dict[str, tuple[Box, ...]]

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s/\]]+)+ ([^\]]*)\]")
_NO_NOUNS = {
    "all", "another", "both", "each", "eight", "five", "four", "he", "her", "hers", "herself", "him", "himself", "his",
    "i", "it", "its", "itself", "me", "none", "one", "ones", "other", "others", "seven", "she", "six", "some", "that",
    "their", "theirs", "them", "themselves", "these", "they", "this", "those", "three", "two", "us", "we", "what",
    "which", "who", "whom", "you",
}  # fmt: skip


def coco_boxes(path: Path, crowds: bool = False) -> Boxes:
    """The boxes of a COCO instances file (``instances_val2017.json``), in its order, by the pictures' ``file_name``.

    A noun is the category's name, as it stands. Fractions of pixels are rounded outwards. Left out are boxes without
    area and, unless ``crowds``, those of crowds: one box about many things that were not told apart. Pictures without
    annotations have no boxes. Raises DataError, naming the place, where the file is no such file or broken.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; give a COCO instances file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}); get the file anew") from error
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
                raise DataError(f"{place} has the {key} {annotation[key]!r}, which the file does not tell of; mend it")
        corners = _corners(place, annotation["bbox"])
        if corners and (crowds or not annotation.get("iscrowd")):
            boxes[pictures[annotation["image_id"]]].append(Box(names[annotation["category_id"]], corners))
    return {name: tuple(found) for name, found in boxes.items()}


def flickr30k_boxes(folder: Path) -> Boxes:
    """The boxes of Flickr30k Entities (Plummer et al. 2015): ``folder`` holds ``Annotations/`` and ``Sentences/``.

    People and things are chains of phrases across a picture's captions. A box of a chain is given once for each noun
    that the captions have for it: the last word of each phrase in lower case and in the singular, without pronouns and
    numbers. Chains without a box (not visible, or the whole scene) have none here. Raises DataError, naming the file,
    where one is missing, broken, or declares a document type (entities of XML could fill the memory).
    """
    files = sorted((folder / "Annotations").glob("*.xml"))
    if not files:
        raise DataError(f"{folder} holds no Annotations/*.xml; give the unpacked folder of Flickr30k Entities")
    boxes: Boxes = {}
    for path in files:
        nouns = _nouns(folder / "Sentences" / f"{path.stem}.txt")
        found = [Box(noun, box) for chain, box in _chain_boxes(path) for noun in nouns.get(chain, ())]
        boxes[f"{path.stem}.jpg"] = tuple(dict.fromkeys(found))
    return boxes


def _entries(path: Path, content: Any, name: str, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a list of a COCO file, each with the place to name in an error, its ``keys`` checked."""
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path} has no list of {name}; give a COCO instances file, not one of captions")
    for number, entry in enumerate(entries):
        place = f"{path}: {name}[{number}]"
        if not isinstance(entry, dict) or not entry.keys() >= set(keys):
            raise DataError(f"{place} is not an object with {', '.join(keys)}; get the file anew")
        for key in keys:
            if key.endswith("id") and type(entry[key]) is not int:
                raise DataError(f"{place} has the {key} {entry[key]!r}, which is no whole number; get the file anew")
        yield place, entry


def _corners(place: str, bbox: Any) -> tuple[int, int, int, int] | None:
    """COCO's (x, y, width, height) → (left, top, right, bottom), None for a box without area."""
    numbers = bbox if isinstance(bbox, list) else []
    if len(numbers) != 4 or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        raise DataError(f"{place} has the bbox {bbox!r} instead of [x, y, width, height]; get the file anew")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        return None
    return math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)


def _nouns(path: Path) -> dict[str, list[str]]:
    """The nouns of each chain of a picture, in the order of its captions."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing, yet its picture has annotations; get Flickr30k Entities anew") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); get Flickr30k Entities anew") from error
    nouns: dict[str, list[str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        phrases = _PHRASE.findall(line)
        if len(phrases) != line.count("[/EN#"):
            raise DataError(f"{path}:{number} has a phrase that is not '[/EN#id/type words]': {line[:80]!r}; mend it")
        for chain, phrase in phrases:
            words = [word for word in phrase.lower().split() if word[0].isalpha()]
            if words and words[-1] not in _NO_NOUNS:
                nouns.setdefault(chain, []).append(singular(words[-1]))
    return {chain: list(dict.fromkeys(found)) for chain, found in nouns.items()}


class _PlainXml(ElementTree.TreeBuilder):
    """Builds a tree, and stops at a document type: entities are declared in one, and these files have none."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called before anything that the document type declares is read."""
        raise ValueError(f"it declares the document type {name!r}")


def _chain_boxes(path: Path) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Every box of an annotation file with every chain that it belongs to."""
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_PlainXml()))
        for thing in root.iter("object"):
            for box in thing.iter("bndbox"):
                left, top, right, bottom = (int(box.findtext(key, "")) for key in ("xmin", "ymin", "xmax", "ymax"))
                if left > right or top > bottom:
                    raise ValueError(f"it has the box {(left, top, right, bottom)}")
                # Counted from 1 with the last pixel inside, as the data set's own reader has it.
                corners = (max(left - 1, 0), max(top - 1, 0), max(right, 1), max(bottom, 1))
                yield from ((name.text or "", corners) for name in thing.iter("name"))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no annotation of Flickr30k Entities ({error}); get the file anew") from error
