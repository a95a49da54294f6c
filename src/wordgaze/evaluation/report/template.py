"""The templates of HTML pages. Each extends ``base.html`` and carries its style sheets: a page has no other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

_HERE = Path(__file__).parent


def page_template(page: Path, style: Path, filters: Mapping[str, Any]) -> Template:
    """The template of a page, whose style sheet follows that of all pages. Text that is put in is escaped."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader([page.parent, _HERE]),
    )
    environment.filters |= filters
    sheets = (_HERE / "base.css", style)
    environment.globals["style"] = Markup("".join(sheet.read_text(encoding="utf-8") for sheet in sheets))  # nosec B704
    return environment.get_template(page.name)
