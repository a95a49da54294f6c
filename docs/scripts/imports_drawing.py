"""A drawing of the packages of wordgaze and of who imports whom, made from the imports themselves."""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

WIDTH, HEIGHT, GAP, ROW = 118, 36, 22, 78  # pixels
BOW = 60  # pixels, how far an arrow past other rows goes outwards


def render(package: Path) -> str:
    """The drawing as SVG. An arrow points from a package to one that it imports; what follows from other arrows is
    left out, and each package stands above all that it imports."""
    edges = read_imports(package)
    levels = assign_levels(edges)
    rows = [[name for name in sorted(edges) if levels[name] == level] for level in range(max(levels.values()), -1, -1)]
    width = max(len(row) for row in rows) * (WIDTH + GAP) + GAP
    places = {}
    for y, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + GAP) + GAP) / 2
        places.update({name: (left + x * (WIDTH + GAP), GAP + y * ROW) for x, name in enumerate(row)})
    body = [_arrow(*places[a], *places[b]) for a in sorted(edges) for b in sorted(reduced(edges)[a])]
    body += [_box(name, *place) for name, place in sorted(places.items())]
    return _HEAD.format(width=width + BOW, height=len(rows) * ROW) + "".join(body) + "</svg>\n"


def read_imports(package: Path) -> dict[str, set[str]]:
    """Which packages each package imports, imports within functions included."""
    edges: dict[str, set[str]] = {path.name: set() for path in package.iterdir() if (path / "__init__.py").is_file()}
    for name in edges:
        for path in (package / name).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            edges[name] |= {other for other in _imported(tree) if other in edges and other != name}
    return edges


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module == "wordgaze" and isinstance(node, ast.ImportFrom):
                yield from (alias.name for alias in node.names)
            elif module.startswith("wordgaze."):
                yield module.split(".")[1]


def assign_levels(edges: dict[str, set[str]]) -> dict[str, int]:
    """0 for a package that imports none; else one more than the highest that it imports. Raises ValueError for a
    circle of imports."""
    levels: dict[str, int] = {}
    while len(levels) < len(edges):
        ready = {name for name in edges if name not in levels and edges[name] <= levels.keys()}
        if not ready:
            raise ValueError(f"circular imports among {sorted(edges.keys() - levels.keys())}")
        levels |= {name: max((levels[other] + 1 for other in edges[name]), default=0) for name in ready}
    return levels


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The transitive reduction: the arrows that do not follow from others."""

    def reachable(name: str) -> set[str]:
        return edges[name].union(*(reachable(other) for other in edges[name]))

    return {name: edges[name] - set().union(*(reachable(other) for other in edges[name])) for name in edges}


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    if y2 - y1 > ROW:  # from side to side, around the rows between
        start, end = (x1 + WIDTH, y1 + HEIGHT / 2), (x2 + WIDTH + 4, y2 + HEIGHT / 2)
        outside = max(start[0], end[0]) + BOW
        first, second = (outside, start[1]), (outside, end[1])
    else:
        start, end = (x1 + WIDTH / 2, y1 + HEIGHT), (x2 + WIDTH / 2, y2 - 4)
        first, second = (start[0], (start[1] + end[1]) / 2), (end[0], (start[1] + end[1]) / 2)
    path = "M {:.1f} {:.1f} C {:.1f} {:.1f}, {:.1f} {:.1f}, {:.1f} {:.1f}".format(*start, *first, *second, *end)
    return f'<path d="{path}" fill="none" stroke="#667" marker-end="url(#tip)"/>'


def _box(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef" stroke="#445"/>'
        f'<text x="{x + WIDTH / 2:.1f}" y="{y + HEIGHT / 2 + 5:.1f}" text-anchor="middle">{escape(name)}</text>'
    )


_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    ' font-family="sans-serif" font-size="15"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4"'
    ' markerWidth="7" markerHeight="7" orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="#667"/></marker></defs>'
)
