"""Reads captions and references from files of six formats: image id → caption, image id → references.

The format is detected from the content; the file extension decides between JSON and JSON lines if both fit:

- COCO results: ``[{"image_id": 1, "caption": "…"}, …]``
- COCO annotations: ``{"images": [{"id": 1, "file_name": "…"}, …], "annotations": [{"image_id": 1, "caption": "…"}]}``
- Karpathy's splits: ``{"images": [{"filename": "…", "split": "train", "sentences": [{"raw": "…"}]}]}``
- JSON lines: ``{"image": "a.jpg", "caption": "…"}`` or ``{"image": "a.jpg", "captions": ["…", "…"]}`` per line
- a table with a header, with commas, bars (``|``) or tabs between the columns
- Flickr8k tokens: ``a.jpg#0<TAB>caption``

The id of an image is in the first of :data:`ID_NAMES` that the file has, its caption in the first of
:data:`CAPTION_NAMES`, several captions in one of :data:`SEVERAL_NAMES` (a list; in a table separated by `` | ``).
The header of a table is not case-sensitive. A column or key ``split`` names the split of an image.

In a table with commas, the apostrophe that :func:`wordgaze.core.tables.guard_formula` puts in front of a formula is
removed.

Ids are text: the number 17 and the text "17" are the same id. A COCO annotation file has two names for an image:
``image_id`` is the id, and :func:`matched` accepts the ``file_name`` too. Whitespace around ids and captions is
removed. Empty captions are valid captions.
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
from wordgaze.data.records import Fault

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
_HALF = re.compile("[\ud800-\udfff]")  # lone surrogates: valid in JSON, but not in UTF-8
_NAMED = 3  # ids in an error message
_HEAD = 4096  # bytes

V = TypeVar("V")
_Aliases = dict[str, dict[str, str]]


class ById(dict[str, V], Generic[V]):
    """Values by image id.

    ``aliases`` has the other names of the same images: for each other column or key that may name an image, its values,
    each with the id of the image. ``places`` maps an id to its first occurrence (file and line), and ``splits`` maps an
    id to the splits that the file names, as written, each with its place. ``faults`` are the rows that were left out,
    and ``layout`` describes in one line per file what was understood.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aliases: dict[str, dict[str, str]] = {}
        self.places: dict[str, str] = {}
        self.splits: dict[str, dict[str, str]] = {}
        self.faults: list[Fault] = []
        self.layout: list[str] = []

    @property
    def names(self) -> dict[str, str]:
        """All other names of the images, each with the id of the image."""
        return {name: key for names in self.aliases.values() for name, key in names.items()}


class _Entry(NamedTuple):
    """Captions of one image, its split if it is given, and the place to name in an error."""

    place: str
    id: str
    captions: list[str]
    split: str = ""


class _Source(NamedTuple):
    """The text of a file and the columns or keys to read: the first of ``wanted`` that it has."""

    path: Path
    text: str
    wanted: tuple[str, ...]


def read_captions(path: Path, column: str | None = None) -> dict[str, str]:
    """One caption per id, in the order of the file, from any of the formats above.

    ``column`` names the column or key of the captions if it is not the first of CAPTION_NAMES. Raises CaptionsError,
    which names the place, if the format is unknown, the file is broken, or an id has two captions.
    """
    captions: ById[str] = ById()
    source = _source(path, (*CAPTION_NAMES, *SEVERAL_NAMES), column)
    for place, key, texts, _ in _entries(source, captions.aliases):
        if key in captions:
            raise CaptionsError(f"{place}: the id {key!r} is repeated; keep one caption per id")
        if len(texts) != 1:
            raise CaptionsError(f"{place}: {len(texts)} captions of {key!r}; keep one, or are these the references?")
        captions[key] = texts[0]
    return captions


def read_references(path: Path, data: bytes | None = None) -> ById[list[str]]:
    """All references of each id, in the order of the file, from any of the formats above.

    ``data`` are the bytes of a file in an archive, which ``path`` only names. Raises CaptionsError, which names the
    place, if the format is unknown, the file is broken, or an id has only blank references.
    """
    references: ById[list[str]] = ById()
    source = _source(path, (*SEVERAL_NAMES, *CAPTION_NAMES), None, data)
    for place, key, texts, split in _entries(source, references.aliases):
        references.setdefault(key, []).extend(texts)
        references.places.setdefault(key, place)
        if split:
            references.splits.setdefault(key, {}).setdefault(split, place)
    for key, texts in references.items():
        if not any(texts):
            raise CaptionsError(f"{references.places[key]}: {key!r} has no reference; add one, or remove the image")
    return references


def holds_captions(data: bytes) -> bool:
    """Whether a text file begins like one of the formats above; it may still be broken."""
    first = _first_line(data[:_HEAD].decode("utf-8-sig", "replace"))
    return bool(_TOKEN.fullmatch(first) or first.lstrip().startswith(("[", "{")) or _delimiter(first))


def decoded(path: Path, data: bytes) -> str:
    """Decodes UTF-8. Raises CaptionsError, which names the byte and the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte {error.start} (0x{error.object[error.start]:02x}, in line {line})"
        raise CaptionsError(f"{path} is not UTF-8 at {byte}; save it as UTF-8") from error


def matched(
    captions: Mapping[str, str], references: Mapping[str, list[str]]
) -> tuple[list[str], list[str], list[list[str]]]:
    """Ids in the order of the captions, with the caption and the references of each.

    Images of a COCO annotation file match by ``image_id`` or by ``file_name``. Raises CaptionsError if
    the ids differ.
    """
    candidates = _renamed(captions, references)
    known = _renamed(references, candidates)
    unmatched = [key for key in candidates if key not in known]
    missing = [key for key in known if key not in candidates]
    problems = []
    if unmatched:
        problems.append(f"{len(unmatched)} of {len(candidates)} captions have no references ({_first(unmatched)})")
    if missing:
        problems.append(f"{len(missing)} of {len(known)} references have no caption ({_first(missing)})")
    if problems:
        raise CaptionsError(f"the ids do not match: {' and '.join(problems)}; give both files the same ids")
    return list(candidates), list(candidates.values()), [known[key] for key in candidates]


def _renamed(own: Mapping[str, V], other: Mapping[str, Any]) -> ById[V]:
    """``own`` with the ids that ``other`` uses for the same images."""
    names: dict[str, str] = other.names if isinstance(other, ById) else {}
    result: ById[V] = ById()
    result.aliases = own.aliases if isinstance(own, ById) else {}
    for key, value in own.items():
        new = key if key in other else names.get(key, key)
        if new in result:
            raise CaptionsError(f"{key!r} and {new!r} are the same image; remove one of them")
        result[new] = value
    return result


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


def _entries(source: _Source, aliases: _Aliases) -> Iterator[_Entry]:
    """The entries of a file in any format; other names of its images are added to ``aliases``."""
    empty = True
    for entry in _reader(source)(source, aliases):
        empty = False
        yield entry
    if empty:
        raise CaptionsError(f"{source.path} holds no captions; give a file with at least one")


def _reader(source: _Source) -> Callable[[_Source, _Aliases], Iterator[_Entry]]:
    first = _first_line(source.text)
    if _TOKEN.fullmatch(first):
        return _tokens
    if source.text.lstrip().startswith(("[", "{")):
        return _json_lines if _is_lines(first, source.text, source.path) else _document
    if _delimiter(first):
        return _table
    raise CaptionsError(f"{source.path}: unknown format, first line {first[:60]!r}; the known formats are {KNOWN}")


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
    """Lines that are not blank, numbered from 1. Only a newline ends a line: captions may contain other separators."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _tokens(source: _Source, aliases: _Aliases) -> Iterator[_Entry]:
    for number, line in _lines(source.text):
        match = _TOKEN.fullmatch(line.rstrip("\r"))
        if match is None:
            raise CaptionsError(
                f"{source.path}:{number} is not 'name.jpg#0<TAB>caption': {line[:60]!r}; correct the line"
            )
        yield _Entry(f"{source.path}:{number}", match[1].strip(), [match[2].strip()])


def _json_lines(source: _Source, aliases: _Aliases) -> Iterator[_Entry]:
    for number, line in _lines(source.text):
        place = f"{source.path}:{number}"
        yield _entry(place, _parsed(place, line), source.wanted)


def _document(source: _Source, aliases: _Aliases) -> Iterator[_Entry]:
    content, path = _parsed(str(source.path), source.text, _without_tokens), source.path
    if isinstance(content, dict) and "annotations" in content:
        aliases["file_name"] = _file_names(path, content)
        content = content["annotations"]
        path = Path(f"{path}: annotations")
    elif isinstance(content, dict) and "images" in content:
        yield from _karpathy(path, content["images"])
        return
    elif isinstance(content, dict) and content.keys() & set(ID_NAMES):
        content = [content]  # JSON lines with a single line
    if not isinstance(content, list):
        raise CaptionsError(f"{source.path}: JSON of unknown structure; the known formats are {KNOWN}")
    for number, value in enumerate(content):
        yield _entry(f"{path}[{number}]", value, source.wanted)


def _without_tokens(value: dict[str, Any]) -> dict[str, Any]:
    """Drops the tokens of Karpathy's sentences, which are most of a file of 140 MB."""
    if "raw" in value:
        value.pop("tokens", None)
    return value


def _karpathy(path: Path, images: Any) -> Iterator[_Entry]:
    if not isinstance(images, list):
        raise CaptionsError(f"{path}: images is not a list; download the file again")
    for number, image in enumerate(images):
        place = f"{path}: images[{number}]"
        sentences = image.get("sentences") if isinstance(image, dict) else None
        if not isinstance(sentences, list) or not all(isinstance(one, dict) and "raw" in one for one in sentences):
            raise CaptionsError(f"{place} lacks sentences with raw; the known formats are {KNOWN}")
        yield _entry(place, {**image, "captions": [one["raw"] for one in sentences]}, ("captions",))


def _file_names(path: Path, content: dict[str, Any]) -> dict[str, str]:
    images = content.get("images", [])
    if not isinstance(images, list):
        raise CaptionsError(f"{path}: images is not a list; download the file again")
    names = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not {"id", "file_name"} <= image.keys():
            raise CaptionsError(f"{path}: images[{number}] lacks id or file_name; download the file again")
        names[str(image["file_name"])] = str(image["id"])
    return names


def _parsed(place: str, text: str, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CaptionsError(f"{place}: broken JSON at {where} ({error.msg}); correct it there") from error
    except (ValueError, RecursionError) as error:
        raise CaptionsError(f"{place}: JSON that cannot be read ({str(error).splitlines()[0]}); correct it") from error


def _entry(place: str, value: Any, wanted: tuple[str, ...]) -> _Entry:
    if not isinstance(value, dict):
        raise CaptionsError(f"{place} is not an object but {_shown(value)}; the known formats are {KNOWN}")
    id_name = next((name for name in ID_NAMES if name in value), None)
    if id_name is None:
        raise CaptionsError(f"{place} has no id; its key must be one of {', '.join(ID_NAMES)}")
    key = value[id_name]
    if isinstance(key, bool) or not isinstance(key, int | str) or not str(key).strip():
        raise CaptionsError(f"{place}: {id_name} is {_shown(key)}; an id is a text or an integer")
    name = next((name for name in wanted if name in value), None)
    if name is None:
        raise CaptionsError(f"{place} ({key}) has no {' or '.join(wanted)}; add it, or give the name of the key")
    found = value[name] if isinstance(value[name], list) else [value[name]]
    for caption in found:
        if not isinstance(caption, str):
            raise CaptionsError(f"{place} ({key}): {name} is {_shown(caption)} instead of a text; correct it")
    broken = next((text for text in (str(key), *found) if _HALF.search(text)), None)
    if broken is not None:
        raise CaptionsError(
            f"{place}: {_shown(broken)} contains a lone surrogate, which is not a character; correct it"
        )
    split = value.get("split")
    return _Entry(
        place, str(key).strip(), [caption.strip() for caption in found], "" if split is None else str(split).strip()
    )


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _delimiter(header: str) -> str | None:
    """The delimiter of a table: the one by which a column of the header is an id."""
    return next(
        (d for d in _DELIMITERS if {_column(name.strip(' "')) for name in header.split(d)} & set(ID_NAMES)), None
    )


def _column(name: str) -> str:
    return name.strip().lower()


def _table(source: _Source, aliases: _Aliases) -> Iterator[_Entry]:
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
            raise CaptionsError(f"{place}: the column {columns[id_at]} is empty; it must have an id")
        if _is_number(text):
            raise CaptionsError(f"{place} ({key}): {text!r} is not a caption; is {columns[at]} the right column?")
        parts = text.split(BETWEEN) if columns[at] in SEVERAL_NAMES else [text]
        split = "" if split_at is None else row[split_at].strip()
        yield _Entry(place, key, [part.strip() for part in parts], split)


def _place(path: Path, columns: list[str], wanted: tuple[str, ...]) -> int:
    found = next((_column(name) for name in wanted if _column(name) in columns), None)
    if found is None:
        raise CaptionsError(
            f"{path} has the columns {', '.join(columns)}, but not {' or '.join(wanted)}; give the name of the column"
        )
    return columns.index(found)


def _rows(source: _Source) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, including the header, each with the number of its last line."""
    delimiter = _delimiter(_first_line(source.text)) or ","
    limit = csv.field_size_limit(len(source.text) + 1)  # a cell may contain many references; the limit is global
    reader = csv.reader(io.StringIO(source.text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CaptionsError(
            f"{source.path}:{reader.line_num} is not a row of a table ({error}); correct its quotes"
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
