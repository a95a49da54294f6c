"""JSON documents: COCO, Karpathy's splits, R2Gen, mappings from names to captions, lists of objects; and JSON lines."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wordgaze.core.errors import CaptionsError
from wordgaze.core.printable import reason_of
from wordgaze.data.readers.captions.content import (
    CaptionContent,
    CaptionFile,
    CaptionLayout,
    CaptionRow,
    NoCaptionsError,
    shown,
)
from wordgaze.data.readers.captions.names import (  # fmt: skip
    CAPTION_NAMES,
    IMAGE_NAMES,
    SEVERAL_NAMES,
    SPLITS_BY_NAME,
    canonical,
    is_picture_name,
)
from wordgaze.data.readers.captions.tokens import numbered_lines
from wordgaze.data.records import Fault

_IMAGE_KEYS = frozenset(map(canonical, IMAGE_NAMES))
_CAPTION_KEYS = frozenset(map(canonical, (*CAPTION_NAMES, *SEVERAL_NAMES)))
_SENTENCE = frozenset({"raw", "tokens", "sentid", "imgid"})
_SAMPLE = 1000


class _Document(NamedTuple):
    """A structure of a JSON document: its name, whether a document has it, and its objects, each with its place."""

    layout: str
    fits: Callable[[Any], bool]
    objects: Callable[[CaptionFile, Any], "_Objects"]


class _Objects(NamedTuple):
    """The objects of a document that are rows; the other fields are those of :class:`CaptionContent`."""

    place: str
    values: list[Any]
    image: str = ""
    caption: str = ""


def _fits_document(file: CaptionFile) -> bool:
    return file.text.lstrip().startswith(("[", "{"))


def _fits_lines(file: CaptionFile) -> bool:
    if not file.text.lstrip().startswith("{"):
        return False
    if file.suffix in (".jsonl", ".ndjson"):
        return True
    if len(file.first_line) == len(file.text.strip("\r\n")):
        return False
    try:
        return isinstance(json.loads(file.first_line), dict)
    except (ValueError, RecursionError):
        return False


def _read_lines(file: CaptionFile) -> CaptionContent:
    rows: list[CaptionRow] = []
    content = CaptionContent("JSON lines", file.path, ":{}", rows)
    for number, line in numbered_lines(file.text):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"broken JSON at {_where(error)}; correct it there"
            content.faults.append(Fault(content.place(number), reason))
            continue
        _add(content, rows, number, value)
    return content


def _read_document(file: CaptionFile) -> CaptionContent:
    try:
        value = json.loads(file.text, object_hook=_without_tokens)
    except json.JSONDecodeError as error:
        raise CaptionsError(f"{file.path}: broken JSON at {_where(error)}; correct it there") from error
    except (ValueError, RecursionError) as error:
        raise CaptionsError(f"{file.path}: JSON that cannot be read ({_where(error)}); correct it") from error
    file.forget()
    document = next((each for each in DOCUMENTS if each.fits(value)), None)
    if document is None:
        raise NoCaptionsError(f"{file.path}: JSON of unknown structure; write a list of objects with image and caption")
    objects = document.objects(file, value)
    rows: list[CaptionRow] = []
    content = CaptionContent(document.layout, file.path, objects.place, rows, objects.image, objects.caption)
    for number, each in enumerate(objects.values):
        _add(content, rows, number, each)
    return content


def _add(content: CaptionContent, rows: list[CaptionRow], number: int, value: Any) -> None:
    if isinstance(value, dict):
        rows.append(CaptionRow(number, value))
    else:
        content.faults.append(Fault(content.place(number), f"is not an object but {shown(value)}; correct it"))


def _where(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno} ({error.msg})"
    return reason_of(error)


def _without_tokens(value: dict[str, Any]) -> Any:
    """The text of Karpathy's sentences; their tokens and numbers are most of a file of 140 MB."""
    return value["raw"] if value.keys() <= _SENTENCE and isinstance(value.get("raw"), str) else value


def _is_coco(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("annotations"), list) and "images" in value


def _coco(file: CaptionFile, value: Any) -> _Objects:
    """The annotations, each with the file name of its image. Their own ids do not name images."""
    names = _file_names(file, value["images"])
    for annotation in value["annotations"]:
        if isinstance(annotation, dict):
            annotation.pop("id", None)
            name = names.get(str(annotation.get("image_id", "")).strip())
            if name is not None:
                annotation["file_name"] = name
    return _Objects(": annotations[{}]", value["annotations"], "image_id", "caption")


def _file_names(file: CaptionFile, images: Any) -> dict[str, str]:
    if not isinstance(images, list):
        raise CaptionsError(f"{file.path}: images is not a list; download the file again")
    names: dict[str, str] = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not {"id", "file_name"} <= image.keys():
            raise CaptionsError(f"{file.path}: images[{number}] lacks id or file_name; download the file again")
        names[str(image["id"]).strip()] = str(image["file_name"])
    return names


def _is_karpathy(value: Any) -> bool:
    return isinstance(value, dict) and "images" in value and "annotations" not in value


def _karpathy(file: CaptionFile, value: Any) -> _Objects:
    """The images. One is named by its file name, or by its path where the file name is not unique."""
    images = value["images"]
    if not isinstance(images, list):
        raise CaptionsError(f"{file.path}: images is not a list; download the file again")
    paths: dict[str, set[str]] = {}
    for image in images:
        if isinstance(image, dict) and "filename" in image:
            paths.setdefault(str(image["filename"]), set()).add(_path(image))
    unique = all(len(of_name) == 1 for of_name in paths.values())
    for number, image in enumerate(images):
        images[number] = _karpathy_row(image, unique)  # in place: the list is large
    return _Objects(": images[{}]", images, "image", "sentences")


def _path(image: dict[str, Any]) -> str:
    """``filepath/filename``; in some files ``filepath`` is the whole path."""
    folder, name = str(image.get("filepath") or "").strip("/"), str(image["filename"])
    return folder if not folder or folder.endswith(name) else f"{folder}/{name}"


def _karpathy_row(image: Any, unique: bool) -> Any:
    if not isinstance(image, dict) or "filename" not in image:
        return image
    path = _path(image)
    named = {"image": image["filename"]} if unique or not path else {"image": path, "filename": image["filename"]}
    others = {key: image[key] for key in ("cocoid", "imgid", "split", "sentences") if key in image}
    return {**named, **({"filepath": path} if path and unique else {}), **others}


def _is_by_split(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(name.casefold() in SPLITS_BY_NAME for name in value)
        and all(isinstance(part, list | dict) for part in value.values())
    )


def _by_split(file: CaptionFile, value: Any) -> _Objects:
    """Lists or mappings of the splits, as R2Gen's ``annotation.json`` has them."""
    values = []
    for split, part in value.items():
        for each in part if isinstance(part, list) else _mapped(part):
            values.append({**each, "split": split} if isinstance(each, dict) else each)
    return _Objects("[{}]", values)


def _is_row(value: Any) -> bool:
    """Whether an object is a single row, as JSON lines with one line are."""
    if not isinstance(value, dict):
        return False
    keys = set(map(canonical, value))
    return bool(keys & _IMAGE_KEYS and keys & _CAPTION_KEYS)


def _is_columns(value: Any) -> bool:
    """Whether keys are columns and values are lists of equal length, or objects by row as pandas writes them."""
    if not isinstance(value, dict) or not set(map(canonical, value)) & _CAPTION_KEYS:
        return False
    columns = list(map(_cells, value.values()))
    named = any(map(is_picture_name, columns)) or bool(set(map(canonical, value)) & _IMAGE_KEYS)
    return named and len(columns) > 1 and len(columns[0]) > 1 and len({len(cells) for cells in columns}) == 1


def _cells(column: Any) -> list[Any]:
    """The cells of a column; none if it is not one."""
    return column if isinstance(column, list) else list(column.values()) if isinstance(column, dict) else []


def _columns(_: CaptionFile, value: Any) -> _Objects:
    rows = zip(*map(_cells, value.values()), strict=True)
    return _Objects("[{}]", [dict(zip(value, row, strict=True)) for row in rows])


def _is_mapping(value: Any) -> bool:
    """Whether keys name images and values are captions: texts, lists of texts, or objects."""
    if not isinstance(value, dict) or not value:
        return False
    items = list(value.items())[:_SAMPLE]
    named = sum(is_picture_name(key) or key.strip().isdigit() for key, _ in items)
    captions = sum(_may_be_captions(one) for _, one in items)
    texts = sum(isinstance(one, list) or (isinstance(one, str) and " " in one) for _, one in items)
    return captions > len(items) / 2 and max(named, texts) > len(items) / 2


def _may_be_captions(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str | int | float | None) for one in value) or all(map(_has_text, value))
    return value is None or isinstance(value, str | int | float) or _has_text(value)


def _has_text(value: Any) -> bool:
    return isinstance(value, dict) and bool(set(map(canonical, value)) & _CAPTION_KEYS)


def _mapped(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, captions in value.items():
        if isinstance(captions, dict):
            yield {"image": key, **captions}
        else:
            yield {"image": key, "captions": captions if isinstance(captions, list) else [captions]}


def _mapping(_: CaptionFile, value: Any) -> _Objects:
    return _Objects("[{}]", list(_mapped(value)))


def _whole(_: CaptionFile, value: Any) -> _Objects:
    return _Objects("[{}]", value)


def _only_list(value: Any) -> list[Any] | None:
    """The only list of rows in an object, such as ``{"data": […]}`` or ``{"annotations": […]}``."""
    if not isinstance(value, dict):
        return None
    lists = [one for one in value.values() if isinstance(one, list) and any(map(_names_image, one[:9]))]
    return lists[0] if len(lists) == 1 else None


def _names_image(value: Any) -> bool:
    return isinstance(value, dict) and bool(set(map(canonical, value)) & _IMAGE_KEYS)


def _listed(file: CaptionFile, value: Any) -> _Objects:
    name = next(key for key, one in value.items() if one is _only_list(value))
    values = _only_list(value) or []
    if name == "annotations":  # of COCO, without the images
        for each in values:
            if isinstance(each, dict) and "image_id" in each:
                each.pop("id", None)
    return _Objects(f": {name}[{{}}]", values)


DOCUMENTS = (
    _Document("a JSON list of objects", lambda value: isinstance(value, list), _whole),
    _Document("COCO annotations", _is_coco, _coco),
    _Document("Karpathy's splits", _is_karpathy, _karpathy),
    _Document("a JSON object with a list for each split", _is_by_split, _by_split),
    _Document("a JSON object with a list for each column", _is_columns, _columns),
    _Document("a JSON object", _is_row, lambda _, value: _Objects("[{}]", [value])),
    _Document("a JSON list of objects", lambda value: _only_list(value) is not None, _listed),
    _Document("JSON from names to captions", _is_mapping, _mapping),
)  # fmt: skip
"""The structures of JSON documents, in the order in which they are tried."""

LINES_LAYOUT = CaptionLayout("JSON lines", _fits_lines, _read_lines)
DOCUMENT_LAYOUT = CaptionLayout("JSON", _fits_document, _read_document)
