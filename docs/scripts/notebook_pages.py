"""A page for each notebook: its text and its code, without outputs. A test executes the notebook itself."""

import json
from pathlib import Path
from typing import Any


def render(path: Path) -> str:
    """The page in Markdown, with a link to the notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *rest = [_cell(cell) for cell in cells]
    return "\n\n".join([title, f"[Download the notebook]({path.name})", *rest]) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    return f"```python\n{text}\n```" if cell["cell_type"] == "code" else text
