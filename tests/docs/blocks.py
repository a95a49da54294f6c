"""The fenced code blocks of the README and of the documentation."""

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("**/*.md"))]
SHELL = ("bash", "console", "sh", "shell")
RUN = (*SHELL, "python")
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+?) -->\n+)?^(?P<fence>`{3,}|~{3,})(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """``line`` is that of the fence; ``reason`` says why the block is not run, None for a block that is."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("fence")) + 1,
            match["language"].strip(),
            match["code"],
            match["reason"],
        )
        for match in _FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
