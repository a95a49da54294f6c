"""The reference of params.yaml: types and limits from the pydantic models, values and comments from the file."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?:[^#\"]|\"[^\"]*\")*(?:#\s*(?P<comment>.*))?$")
_LIMITS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))

_HEAD = """# params.yaml

This page is generated from the models that validate the file and from the comments in it. The values are those of the
embedded data set. An unknown key, a wrong type or a value outside the limits stops a command before any work is done;
all errors are reported at once.

Change a value for one run with `dvc exp run -S section.key=value`, or in the file for all runs.
"""


def render(path: Path) -> str:
    """The page in Markdown; ``path`` is the params.yaml whose values and comments are shown."""
    from wordgaze.config.params import Params, load_params

    schema = Params.model_json_schema()
    values = load_params(path).model_dump(mode="json")
    comments = read_comments(path.read_text(encoding="utf-8"))
    sections = [name for name, each in schema["properties"].items() if "$ref" in each]
    top = [name for name in schema["properties"] if name not in sections]
    parts = [_HEAD, _table([_row(name, schema["properties"][name], values[name], comments, schema) for name in top])]
    for name in sections:
        parts.append(f"## {name}\n\n{_sentence(comments.get(name, ''))}\n")
        parts.append(_table(_rows(name, schema["properties"][name], values[name], comments, schema)))
    return "\n".join(parts)


def read_comments(text: str) -> dict[str, str]:
    """The comment behind each key, by dotted key."""
    comments: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        parents = [each for each in parents if each[0] < indent] + [(indent, match["key"])]
        comments[".".join(key for _, key in parents)] = (match["comment"] or "").strip()
    return comments


def _rows(
    prefix: str, field: dict[str, Any], values: dict[str, Any], comments: dict[str, str], schema: dict[str, Any]
) -> Iterator[str]:
    """A row per key; the keys of a section within the section follow with their dotted names."""
    for name, each in _definition(field, schema)["properties"].items():
        if "$ref" in each:
            yield from _rows(f"{prefix}.{name}", each, values[name], comments, schema)
        else:
            yield _row(f"{prefix}.{name}", each, values[name], comments, schema)


def _row(key: str, field: dict[str, Any], value: Any, comments: dict[str, str], schema: dict[str, Any]) -> str:
    meaning = html.escape(comments.get(key) or field.get("description", ""), quote=False)
    cells = (f"`{key}`", f"`{json.dumps(value)}`", _allowed(field, schema), meaning)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _allowed(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """The type of a value, and its limits."""
    field = {**_definition(field, schema), **field}
    if "anyOf" in field:
        return " or ".join(_allowed(each, schema) for each in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    limits = [f"{sign} {field[name]:g}" for name, sign in _LIMITS if name in field]
    names = {"integer": "int", "number": "float", "boolean": "bool", "string": "text", "array": "list"}
    return ", ".join([names.get(field.get("type", ""), field.get("type", "")), *limits])


def _definition(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = field.get("$ref", "")
    definition: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[1]] if reference else field
    return definition


def _table(rows: Any) -> str:
    return "\n".join(["| key | value | allowed | meaning |", "|---|---|---|---|", *rows, ""])


def _sentence(comment: str) -> str:
    return comment[:1].upper() + comment[1:] + "." if comment else ""
