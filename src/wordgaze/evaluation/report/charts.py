"""Bar charts, reliability diagrams and risk–coverage curves as SVG inside an HTML page.

The style sheet of the page colours them by class. Charts are 420 units wide, so that their text is readable on a phone.
The ``aria-label`` of a chart describes it to screen readers, and the chart, or a table beside it, shows every value as
text: no information is given by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH = 420
_ROW = 46  # units of height for a bar with its label above it
_RIGHT = 62  # units kept free for the values
_SIDE = 300  # of the square in the reliability diagram
_LEFT, _BELOW = 56, 44  # room for the names of its axes


@dataclass(frozen=True)
class Bar:
    """One bar with its label and its value as text. A value of None is drawn as a dash."""

    label: str
    value: float | None
    shown: str
    interval: tuple[float, float] | None = None
    baseline: bool = False


@dataclass(frozen=True)
class ReliabilityPoint:
    """A bin of words or captions: their mean probability, the share that is right, and their number."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class RiskPoint:
    """The risk of the most confident images, ``coverage`` of all, and the least possible risk of as many."""

    coverage: float
    risk: float
    oracle: float


def bar_chart(name: str, bars: Sequence[Bar], top: float | None = None) -> Markup:
    """Horizontal bars from 0 with whiskers for intervals. The scale ends at ``top``, by default the highest value."""
    ends = [end for bar in bars for end in (bar.value, *(bar.interval or ())) if end is not None]
    scale = (_WIDTH - _RIGHT) / (top or max(ends, default=0) or 1)
    height = _ROW * len(bars) + 4
    rows = Markup().join(_bar(bar, _ROW * i, scale) for i, bar in enumerate(bars))
    description = f"{name}: " + "; ".join(_description(bar) for bar in bars)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {w} {h}" aria-label="{description}">'
        '<line class="axis" x1="0.5" y1="0" x2="0.5" y2="{h}"/>{rows}</svg>'
    ).format(w=_WIDTH, h=height, description=description, rows=rows)


def reliability_diagram(dots: Sequence[ReliabilityPoint], unit: str = "word") -> Markup:
    """Accuracy over confidence (Guo et al. 2017, figure 1) of words, or of another ``unit``.

    Dots below the diagonal are overconfident; the area of a dot is proportional to its number of words.
    """
    most = max((dot.count for dot in dots), default=0) or 1
    description = "; ".join(f"{dot.count} {unit}s at {dot.confidence:.0%}, {dot.accuracy:.0%} right" for dot in dots)
    marks = Markup().join(
        Markup('<line class="gap" x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{d:.1f}"/>').format(
            x=_x(dot.confidence), y=_y(dot.accuracy), d=_y(dot.confidence)
        )
        for dot in dots
    ) + Markup().join(
        Markup('<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>').format(
            x=_x(dot.confidence), y=_y(dot.accuracy), r=3 + 9 * (dot.count / most) ** 0.5
        )
        for dot in dots
    )
    return Markup(
        '<svg class="chart square" role="img" viewBox="0 0 {w} {h}" aria-label="Reliability diagram: {description}">'
        '{frame}<line class="diagonal" x1="{l}" y1="{b:.0f}" x2="{r}" y2="{t:.0f}"/>{marks}</svg>'
    ).format(
        w=_LEFT + _SIDE + 22, h=_SIDE + _BELOW + 10, description=description, marks=marks,
        frame=_frame(f"probability of a {unit}", f"share of right {unit}s"), l=_LEFT, r=_LEFT + _SIDE, b=_y(0), t=_y(1),
    )  # fmt: skip


def risk_coverage_diagram(points: Sequence[RiskPoint]) -> Markup:
    """Risk over coverage (Geifman and El-Yaniv 2017, figure 1), in the order of the coverage.

    The dashed lines are a random order, whose risk is that of all images, and an oracle.
    """
    risk = " ".join(f"{_x(point.coverage):.1f},{_y(point.risk):.1f}" for point in points)
    oracle = " ".join(f"{_x(point.coverage):.1f},{_y(point.oracle):.1f}" for point in points)
    description = "; ".join(f"{point.risk:.0%} wrong at a coverage of {point.coverage:.0%}" for point in points)
    return Markup(
        '<svg class="chart square" role="img" viewBox="0 0 {w} {h}" aria-label="Risk–coverage curve: {description}">'
        '{frame}<path class="diagonal" d="M{l} {y:.1f}H{r}"/><polyline class="diagonal" points="{oracle}"/>'
        '<polyline class="curve" points="{risk}"/></svg>'
    ).format(
        w=_LEFT + _SIDE + 22, h=_SIDE + _BELOW + 10, description=description, oracle=oracle, risk=risk,
        frame=_frame("coverage: share of the images", "share of wrong captions"),
        l=_LEFT, r=_LEFT + _SIDE, y=_y(points[-1].risk),
    )  # fmt: skip


def _description(bar: Bar) -> str:
    return f"{bar.label} {bar.shown}" + (f", {bar.interval[0]:.3f} to {bar.interval[1]:.3f}" if bar.interval else "")


def _bar(bar: Bar, y: int, scale: float) -> Markup:
    kind = "baseline" if bar.baseline else "evaluated"
    label = Markup('<text class="label" x="6" y="{y}">{label}</text>').format(y=y + 14, label=bar.label)
    if bar.value is None:
        return label + Markup('<text class="value" x="6" y="{y}">–</text>').format(y=y + 31)
    end = max(0.0, bar.value) * scale
    drawn = Markup('<rect class="{kind}" x="1" y="{y}" width="{w:.1f}" height="14" rx="2"/>').format(
        kind=kind, y=y + 20, w=end
    )
    right = end
    if bar.interval:
        low, right = (max(0.0, x) * scale for x in bar.interval)
        path = f"M{low:.1f} {y + 23}v8M{low:.1f} {y + 27}H{right:.1f}M{right:.1f} {y + 23}v8"
        drawn += Markup('<path class="halo" d="{d}"/><path class="whisker" d="{d}"/>').format(d=path)
    shown = Markup('<text class="value" x="{x:.1f}" y="{y}">{shown}</text>').format(
        x=max(end, right) + 8, y=y + 31, shown=bar.shown
    )
    return label + drawn + shown


def _x(share: float) -> float:
    return _LEFT + _SIDE * share


def _y(share: float) -> float:
    return 8 + _SIDE * (1 - share)


def _frame(x_label: str, y_label: str) -> Markup:
    ticks = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y, shown = _x(share), _y(share), f"{share:.0%}"
        ticks += [
            f'<line class="grid" x1="{x:.0f}" y1="{_y(1):.0f}" x2="{x:.0f}" y2="{_y(0):.0f}"/>',
            f'<line class="grid" x1="{_LEFT}" y1="{y:.0f}" x2="{_LEFT + _SIDE}" y2="{y:.0f}"/>',
            f'<text class="tick" x="{x:.0f}" y="{_y(0) + 16:.0f}" text-anchor="middle">{escape(shown)}</text>',
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{escape(shown)}</text>',
        ]
    middle, upward = _LEFT + _SIDE // 2, f"translate(12 {_y(0.5):.0f}) rotate(-90)"
    ticks += [
        f'<text class="label" x="{middle}" y="{_SIDE + _BELOW + 4}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text class="label" transform="{upward}" text-anchor="middle">{escape(y_label)}</text>',
    ]
    return Markup("".join(ticks))  # nosec B704  # each text is escaped above
