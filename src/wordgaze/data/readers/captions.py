"""Captions and references from anybody's files: picture id → caption, picture id → references.

Six formats, told apart by what is in the file; the ending decides where both kinds of JSON would do:

- COCO results: ``[{"image_id": 1, "caption": "…"}, …]``
- COCO annotations: ``{"images": [{"id": 1, "file_name": "…"}, …], "annotations": [{"image_id": 1, "caption": "…"}]}``
- Karpathy's splits: ``{"images": [{"filename": "…", "split": "train", "sentences": [{"raw": "…"}]}]}``
- JSON lines: ``{"image": "a.jpg", "caption": "…"}`` or ``{"image": "a.jpg", "captions": ["…", "…"]}`` in each line
- a table with a header, of columns between commas, bars (``|``) or tabs
- Flickr8k tokens: ``a.jpg#0<TAB>caption``

A picture's id is in the first of :data:`ID_NAMES` that the file has, its caption in the first of
:data:`CAPTION_NAMES`, several captions in one of :data:`SEVERAL_NAMES` (a list; in a table with `` | `` between them).
Upper and lower case are the same in a table's header. A column or key ``split`` tells a picture's split.

In a table with commas, the apostrophe that :func:`wordgaze.core.tables.guard_formula` puts in front of a formula is
removed.

Ids are text: the number 17 and the text "17" are one id. A COCO annotation file knows a picture by two names. Its
``image_id`` is the id, and :func:`matched` takes the picture's ``file_name`` for it too. Whitespace around ids and
captions is dropped. Empty captions are captions.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from wordgaze.core.errors import CaptionsError
from wordgaze.core.tables import unguard_formula

ID_NAMES = ("image_id", "image", "image_name", "file_name", "filename", "id", "name")
CAPTION_NAMES = ("caption", "beam", "greedy", "text", "comment", "sentence", "prediction")
SEVERAL_NAMES = ("references", "captions")
BETWEEN = " | "  # references in one cell of a table, as reports/captions.csv has them
KNOWN = (
    "COCO results (JSON list), COCO annotations (JSON with images and annotations), Karpathy's splits (JSON), "
    "JSON lines, a table with a header (commas, | or tabs), Flickr8k tokens (name.jpg#0<TAB>caption)"
)

_DELIMITERS = ",|\t"
_TOKEN = re.compile(r"(.+)#\d+\t(.*)")
_HALF = re.compile("[\ud800-\udfff]")  # JSON can write what no text file can hold
_NAMED = 3  # ids that an error names
_GLANCE = 4096  # bytes

V = TypeVar("V")


class ById(dict[str, V], Generic[V]):
    """Values by picture id.

    ``names`` are other names of the same pictures, each with its id; ``places`` tells where an id stands first, and
    ``splits`` the splits that an id is said to be in, as written, each with the place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.splits: dict[str, dict[str, str]] = {}


class _Entry(NamedTuple):
    """Captions of one picture, its split if that is told, and the place to name in an error."""

    place: str
    id: str
    captions: list[str]
    split: str = ""


class _Source(NamedTuple):
    """A file's text and what is wanted of it: the first of the ``wanted`` columns or keys that it has."""

    path: Path
    text: str
    wanted: tuple[str, ...]


def read_captions(path: Path, column: str | None = None) -> dict[str, str]:
    """One caption an id, in the file's order, from any of the formats above.

    ``column`` names the caption's column or key where it is not the first of CAPTION_NAMES. Raises CaptionsError,
    naming the place, where the file is of no known format or broken, or an id has two captions.
    """
    captions: ById[str] = ById()
    source = _source(path, (*CAPTION_NAMES, *SEVERAL_NAMES), column)
    for place, key, found, _ in _entries(source, captions.names):
        if key in captions:
            raise CaptionsError(f"{place}: the id {key!r} comes twice; leave one caption an id")
        if len(found) != 1:
            raise CaptionsError(f"{place}: {len(found)} captions of {key!r}; leave one, or are these the references?")
        captions[key] = found[0]
    return captions


def read_references(path: Path, column: str | None = None, data: bytes | None = None) -> ById[list[str]]:
    """All references of each id, in the file's order, from any of the formats above.

    ``column`` names the column or key where it is neither of SEVERAL_NAMES nor the first of CAPTION_NAMES. ``data``
    are the file's bytes where it lies in an archive, and ``path`` only names it. Raises CaptionsError, naming the
    place, where the file is of no known format or broken, or an id has blank references only.
    """
    references: ById[list[str]] = ById()
    source = _source(path, (*SEVERAL_NAMES, *CAPTION_NAMES), column, data)
    for place, key, found, split in _entries(source, references.names):
        references.setdefault(key, []).extend(found)
        references.places.setdefault(key, place)
        if split:
            references.splits.setdefault(key, {}).setdefault(split, place)
    for key, found in references.items():
        if not any(found):
            raise CaptionsError(f"{references.places[key]}: no reference of {key!r}; add one, or leave the picture out")
    return references


def holds_captions(data: bytes) -> bool:
    """Whether a text file begins like one of the formats above; it may be broken all the same."""
    first = _first_line(data[:_GLANCE].decode("utf-8-sig", "replace"))
    return bool(_TOKEN.fullmatch(first) or first.lstrip().startswith(("[", "{")) or _delimiter(first))


def decoded(path: Path, data: bytes) -> str:
    """Text from UTF-8. Raises CaptionsError that names the byte and the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte {error.start} (0x{error.object[error.start]:02x}, in line {line})"
        raise CaptionsError(f"{path} is not UTF-8 at {byte}; save it as UTF-8") from error


def matched(
    captions: Mapping[str, str], references: Mapping[str, list[str]], partial: bool = False
) -> tuple[list[str], list[str], list[list[str]]]:
    """Ids in the captions' order, with the caption and the references of each.

    Pictures of a COCO annotation file go by ``image_id`` and by ``file_name``. ``partial`` lets references be without
    a caption: a split is scored against the file of all splits. Raises CaptionsError where the ids differ otherwise.
    """
    said = _renamed(captions, references)
    known = _renamed(references, said)
    lost = [key for key in said if key not in known]
    unsaid = [key for key in known if key not in said]
    problems = [f"{len(lost)} of {len(said)} captions have no references ({_first(lost)})"] if lost else []
    if unsaid and not partial:
        problems.append(f"{len(unsaid)} of {len(known)} references have no caption ({_first(unsaid)})")
    if problems:
        raise CaptionsError(f"the ids do not match: {' and '.join(problems)}; give both files the same ids")
    return list(said), list(said.values()), [known[key] for key in said]


def _renamed(own: Mapping[str, V], other: Mapping[str, Any]) -> ById[V]:
    """``own`` with the ids that ``other`` has for the same pictures."""
    names: dict[str, str] = other.names if isinstance(other, ById) else {}
    found: ById[V] = ById()
    found.names = own.names if isinstance(own, ById) else {}
    for key, value in own.items():
        new = key if key in other else names.get(key, key)
        if new in found:
            raise CaptionsError(f"{key!r} and {new!r} are the same picture; leave one of them")
        found[new] = value
    return found


def _first(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:_NAMED])) + (", …" if len(ids) > _NAMED else "")


def _source(path: Path, wanted: tuple[str, ...], column: str | None, data: bytes | None = None) -> _Source:
    try:
        text = decoded(path, path.read_bytes() if data is None else data)
    except OSError as error:
        raise CaptionsError(f"{path} cannot be read ({error.strerror}); give a file of captions") from error
    if not text.strip():
        raise CaptionsError(f"{path} is empty; give a file of captions")
    return _Source(path, text, wanted if column is None else (column,))


def _entries(source: _Source, names: dict[str, str]) -> Iterator[_Entry]:
    """The entries of a file in any format; other names of its pictures go to ``names``."""
    empty = True
    for entry in _reader(source)(source, names):
        empty = False
        yield entry
    if empty:
        raise CaptionsError(f"{source.path} holds no captions; give a file with at least one")


def _reader(source: _Source) -> Callable[[_Source, dict[str, str]], Iterator[_Entry]]:
    first = _first_line(source.text)
    if _TOKEN.fullmatch(first):
        return _tokens
    if source.text.lstrip().startswith(("[", "{")):
        return _json_lines if _is_lines(first, source.text, source.path) else _document
    if _delimiter(first):
        return _table
    raise CaptionsError(f"{source.path}: unknown format, first line {first[:60]!r}; known are {KNOWN}")


def _first_line(text: str) -> str:
    return re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]


def _is_lines(first: str, text: str, path: Path) -> bool:
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return True
    if len(first) == len(text.strip("\r\n")):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, from 1. Only a newline ends a line: captions may hold other separators."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _tokens(source: _Source, names: dict[str, str]) -> Iterator[_Entry]:
    for number, line in _lines(source.text):
        match = _TOKEN.fullmatch(line.rstrip("\r"))
        if match is None:
            raise CaptionsError(f"{source.path}:{number} is not 'name.jpg#0<TAB>caption': {line[:60]!r}; mend the line")
        yield _Entry(f"{source.path}:{number}", match[1].strip(), [match[2].strip()])


def _json_lines(source: _Source, names: dict[str, str]) -> Iterator[_Entry]:
    for number, line in _lines(source.text):
        place = f"{source.path}:{number}"
        yield _entry(place, _parsed(place, line), source.wanted)


def _document(source: _Source, names: dict[str, str]) -> Iterator[_Entry]:
    content, path = _parsed(str(source.path), source.text, _without_tokens), source.path
    if isinstance(content, dict) and "annotations" in content:
        names |= _file_names(path, content)
        content = content["annotations"]
        path = Path(f"{path}: annotations")
    elif isinstance(content, dict) and "images" in content:
        yield from _karpathy(path, content["images"])
        return
    elif isinstance(content, dict) and content.keys() & set(ID_NAMES):
        content = [content]  # JSON lines, of which there is one
    if not isinstance(content, list):
        raise CaptionsError(f"{source.path}: JSON of an unknown form; known are {KNOWN}")
    for number, value in enumerate(content):
        yield _entry(f"{path}[{number}]", value, source.wanted)


def _without_tokens(value: dict[str, Any]) -> dict[str, Any]:
    """Karpathy's sentences have their words too, which are most of a file of 140 MB."""
    if "raw" in value:
        value.pop("tokens", None)
    return value


def _karpathy(path: Path, images: Any) -> Iterator[_Entry]:
    if not isinstance(images, list):
        raise CaptionsError(f"{path}: images is no list; get the file anew")
    for number, image in enumerate(images):
        place = f"{path}: images[{number}]"
        sentences = image.get("sentences") if isinstance(image, dict) else None
        if not isinstance(sentences, list) or not all(isinstance(one, dict) and "raw" in one for one in sentences):
            raise CaptionsError(f"{place} lacks sentences with raw; known are {KNOWN}")
        yield _entry(place, {**image, "captions": [one["raw"] for one in sentences]}, ("captions",))


def _file_names(path: Path, content: dict[str, Any]) -> dict[str, str]:
    images = content.get("images", [])
    if not isinstance(images, list):
        raise CaptionsError(f"{path}: images is no list; get the file anew")
    names = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not {"id", "file_name"} <= image.keys():
            raise CaptionsError(f"{path}: images[{number}] lacks id or file_name; get the file anew")
        names[str(image["file_name"])] = str(image["id"])
    return names


def _parsed(place: str, text: str, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CaptionsError(f"{place}: broken JSON at {where} ({error.msg}); mend it there") from error
    except (ValueError, RecursionError) as error:
        raise CaptionsError(f"{place}: JSON that cannot be read ({str(error).splitlines()[0]}); mend it") from error


def _entry(place: str, value: Any, wanted: tuple[str, ...]) -> _Entry:
    if not isinstance(value, dict):
        raise CaptionsError(f"{place} is no object but {_shown(value)}; known are {KNOWN}")
    id_name = next((name for name in ID_NAMES if name in value), None)
    if id_name is None:
        raise CaptionsError(f"{place} has no id; name it one of {', '.join(ID_NAMES)}")
    key = value[id_name]
    if isinstance(key, bool) or not isinstance(key, int | str) or not str(key).strip():
        raise CaptionsError(f"{place}: {id_name} is {_shown(key)}; an id is a text or a whole number")
    name = next((name for name in wanted if name in value), None)
    if name is None:
        raise CaptionsError(f"{place} ({key}) has no {' or '.join(wanted)}; add it, or name the right key")
    found = value[name] if isinstance(value[name], list) else [value[name]]
    for caption in found:
        if not isinstance(caption, str):
            raise CaptionsError(f"{place} ({key}): {name} is {_shown(caption)} where a text should be; mend it")
    broken = next((text for text in (str(key), *found) if _HALF.search(text)), None)
    if broken is not None:
        raise CaptionsError(f"{place}: {_shown(broken)} has half a character (a lone surrogate); mend it")
    split = value.get("split")
    return _Entry(
        place, str(key).strip(), [caption.strip() for caption in found], "" if split is None else str(split).strip()
    )


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _delimiter(header: str) -> str | None:
    """What is between the columns: with it, one of them is an id."""
    return next(
        (d for d in _DELIMITERS if {_column(name.strip(' "')) for name in header.split(d)} & set(ID_NAMES)), None
    )


def _column(name: str) -> str:
    return name.strip().lower()


def _table(source: _Source, names: dict[str, str]) -> Iterator[_Entry]:
    rows = _rows(source)
    columns = [_column(name) for name in next(rows)[1]]
    id_at, at = _place(source.path, columns, ID_NAMES), _place(source.path, columns, source.wanted)
    split_at = columns.index("split") if "split" in columns else None
    for number, row in rows:
        place = f"{source.path}:{number}"
        if len(row) != len(columns):
            raise CaptionsError(f"{place} has {len(row)} columns, the header {len(columns)}; put the caption in quotes")
        key, text = row[id_at].strip(), row[at].strip()
        if not key:
            raise CaptionsError(f"{place}: the column {columns[id_at]} is empty; an id is needed")
        if _is_number(text):
            raise CaptionsError(f"{place} ({key}): {text!r} is no caption; is {columns[at]} the right column?")
        parts = text.split(BETWEEN) if columns[at] in SEVERAL_NAMES else [text]
        split = "" if split_at is None else row[split_at].strip()
        yield _Entry(place, key, [part.strip() for part in parts], split)


def _place(path: Path, columns: list[str], wanted: tuple[str, ...]) -> int:
    found = next((_column(name) for name in wanted if _column(name) in columns), None)
    if found is None:
        raise CaptionsError(
            f"{path} has the columns {', '.join(columns)}, and none is {' or '.join(wanted)}; name the right column"
        )
    return columns.index(found)


def _rows(source: _Source) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, the header first, each with the number of its last line."""
    delimiter = _delimiter(_first_line(source.text)) or ","
    limit = csv.field_size_limit(len(source.text) + 1)  # a cell may hold many references, and the limit is global
    reader = csv.reader(io.StringIO(source.text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CaptionsError(
            f"{source.path}:{reader.line_num} is no row of a table ({error}); mend its quotes"
        ) from error
    finally:
        csv.field_size_limit(limit)
    if delimiter == ",":  # the tables that wordgaze writes, where an apostrophe guards what looks like a formula
        rows = [(number, [unguard_formula(cell) for cell in row]) for number, row in rows]
    return iter(rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
