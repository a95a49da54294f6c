"""Histograms as SVG inside the page, coloured by its style sheet.

The ``aria-label`` has every value as text, and so has the title of each column.
"""

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 420, 150  # units
_TOP, _BELOW = 18, 34  # units for the largest value above the columns, and for the names below
_NAMED = 10  # columns with a name, at most


def histogram(name: str, bins: Sequence[tuple[str, int]], unit: str) -> Markup:
    """Columns for the counts of bins, given as (name, count); ``unit`` is what the names of the bins count."""
    highest = max((count for _, count in bins), default=0) or 1
    step = _WIDTH / max(len(bins), 8)
    every = -(-len(bins) // _NAMED) or 1
    columns = Markup().join(
        _column(at, label, count, step, highest, at % every == 0) for at, (label, count) in enumerate(bins)
    )
    description = f"{name}: " + "; ".join(f"{label}: {count}" for label, count in bins if count)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {w} {h}" aria-label="{description}">{columns}'
        '<line class="axis" x1="0" y1="{b}" x2="{w}" y2="{b}"/>'
        '<text class="label" x="{m}" y="{t}" text-anchor="middle">{unit}</text></svg>'
    ).format(
        w=_WIDTH, h=_TOP + _HEIGHT + _BELOW, description=description, columns=columns, b=_TOP + _HEIGHT,
        m=_WIDTH // 2, t=_TOP + _HEIGHT + 30, unit=unit,
    )  # fmt: skip


def _column(at: int, label: str, count: int, step: float, highest: int, is_named: bool) -> Markup:
    height = _HEIGHT * count / highest
    left, middle, top = at * step, (at + 0.5) * step, _TOP + _HEIGHT - height
    drawn = Markup(
        '<rect class="evaluated" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">'
        "<title>{label}: {count}</title></rect>"
    ).format(x=left + step * 0.08, y=top, w=step * 0.84, h=height, label=label, count=f"{count:,}")
    if is_named:
        drawn += Markup('<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{label}</text>').format(
            x=min(middle, _WIDTH - 4 * len(label)), y=_TOP + _HEIGHT + 14, label=label
        )
    if count == highest:
        drawn += Markup('<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{count}</text>').format(
            x=min(max(middle, 20), _WIDTH - 20), y=top - 4, count=f"{count:,}"
        )
    return drawn
